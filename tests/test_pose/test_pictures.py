"""The picture of a pose estimator's maps, at the end of a training and of a test."""

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

from registry_losses.datasets import PuppetsDataset
from registry_losses.engine.hooks import PoseMapsHook
from registry_losses.registry import MODELS
from registry_losses.testing import without_pretrained

CONFIGS = Path(__file__).parents[2] / 'configs'
THIRD = {'openpose': 'fields: direction by colour and arrow', 'ae': 'tags of joints by colour'}


@pytest.mark.parametrize('name, file', [
    ('openpose', 'openpose/openpose_tiny_puppets.py'),
    ('ae', 'associative_embedding/ae_tiny_puppets.py'),
])  # fmt: skip
def test_the_hook_draws_maps_of_the_fullest_images(tmp_path, name, file):
    init_default_scope('registry_losses')
    cfg = Config.fromfile(CONFIGS / file)
    torch.manual_seed(0)
    model = MODELS.build(without_pretrained(cfg.model))
    data = PuppetsDataset(
        'val',
        str(tmp_path / 'puppets'),
        spec=dict(num_train=1, num_val=6, image_size=64),
        pipeline=cfg.test_pipeline,
        test_mode=True,
        progress=False,
    )
    hook = PoseMapsHook(max_images=2, score_thr=0.0, cell=128)
    chosen = hook.choose(data)
    counts = [len(data.get_data_info(i)['instances']) for i in range(6)]
    assert sorted(counts[i] for i in chosen) == sorted(counts)[-2:]
    model.train()
    row = hook.row(model, data, chosen[0])
    assert model.training and list(row)[:2] == ['annotated', 'found'] and THIRD[name] in row
    assert all(panel.shape == (128, 128, 3) for panel in row.values())
    bare = cv2.resize(data[chosen[0]]['inputs'].numpy().transpose(1, 2, 0)[..., ::-1], (128, 128))
    assert (np.abs(row['annotated'].astype(int) - bare).max(-1) > 60).sum() > 50
    runner = SimpleNamespace(
        model=model,
        work_dir=str(tmp_path),
        test_dataloader=SimpleNamespace(dataset=data),
        logger=MMLogger.get_current_instance(),
    )
    hook.after_test(runner)
    sheet = cv2.imread(str(tmp_path / 'pose_maps.png'))
    assert sheet.shape[0] == 18 + 2 * 132 and sheet.shape[1] == len(row) * 132
