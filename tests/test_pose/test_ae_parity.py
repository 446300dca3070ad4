"""The COCO recipe of associative embedding against reference outputs of MMPose 1.3.2."""

import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from registry_losses.registry import MODELS
from registry_losses.testing import fill_from_names, without_pretrained

from .scenes import sample

ROOT = Path(__file__).parents[2]
DATA = ROOT / 'tests' / 'data'
NAMES = {'loss_heatmap': 'loss_kpt', 'loss_pull': 'loss_pull', 'loss_push': 'loss_push'}


@pytest.fixture(scope='module')
def model():
    cfg = Config.fromfile(ROOT / 'configs' / 'associative_embedding' / 'ae_hrnet_w32_coco.py')
    built = MODELS.build(dict(without_pretrained(cfg.model), data_preprocessor=None))
    fill_from_names(built)
    return built.train()


def test_state_dict_equals_the_published_one(model):
    published = json.loads((DATA / 'state_dicts' / 'ae_hrnet_w32.json').read_text())
    assert {key: list(value.shape) for key, value in model.state_dict().items()} == published


@pytest.mark.parametrize('index', [0, pytest.param(1, marks=pytest.mark.slow)])
def test_losses_equal_the_reference(model, index):
    reference = json.loads((DATA / 'systems' / 'ae_hrnet_w32.json').read_text())
    case, size = reference['cases'][index], reference['size']
    generator = torch.Generator().manual_seed(case['seed'])
    inputs = torch.randn(len(case['people']), 3, size, size, generator=generator)
    samples = [sample(p['keypoints'], p['visible'], size=size) for p in case['people']]
    with torch.no_grad():
        losses = model(inputs, samples, mode='loss')
    assert set(losses) == set(NAMES)
    for name, theirs in NAMES.items():
        assert float(losses[name]) == pytest.approx(case['losses'][theirs], rel=1e-4), name
