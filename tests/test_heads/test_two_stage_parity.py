"""Faster R-CNN against reference outputs of mmdet 3.3.0.

State dict, training losses and gradients, proposals, pooled features and detections.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

from registry_losses.heads import Proposals, propose
from registry_losses.heads.proposals import roi_levels
from registry_losses.registry import MODELS
from registry_losses.structures import HeadOutput
from registry_losses.testing import fill_from_names, losses_of_case, without_pretrained

ROOT = Path(__file__).parents[2]
DATA = ROOT / 'tests' / 'data'
NAME = 'faster_rcnn_r50_fpn'


def model_config() -> dict:
    """The config's model; every assigned positive and negative takes part."""
    cfg = Config.fromfile(ROOT / 'configs' / 'faster_rcnn' / f'{NAME}_coco.py').model
    node = dict(without_pretrained(cfg), data_preprocessor=None)
    for part in ('rpn', 'rcnn'):
        node['train_cfg'][part]['sampler'].update(num=1_000_000, pos_fraction=1.0)
    return node


@pytest.fixture(scope='module')
def model():
    """Filled from names, in train mode, gradients of the heads alone."""
    model = MODELS.build(model_config())
    fill_from_names(model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(('rpn_head', 'roi_head')))
    return model.train()


def test_state_dict_equals_the_published_one(model):
    published = json.loads((DATA / 'state_dicts' / f'{NAME}.json').read_text())
    assert {key: list(value.shape) for key, value in model.state_dict().items()} == published


@pytest.mark.parametrize('index', [0, pytest.param(1, marks=pytest.mark.slow)])
def test_losses_and_gradients_equal_the_reference(model, index):
    reference = json.loads((DATA / 'systems' / f'{NAME}.json').read_text())
    case = reference['cases'][index]
    model.zero_grad()
    losses = losses_of_case(model, case, reference['size'])
    assert set(losses) == set(case['losses'])
    for key, value in case['losses'].items():
        assert losses[key].item() == pytest.approx(value, rel=1e-4), key
    sum(value for key, value in losses.items() if 'loss' in key).backward()
    norms = {k: float(p.grad.norm()) for k, p in model.named_parameters() if p.grad is not None}
    assert set(norms) == set(case['head_grad_norms'])
    for key, value in case['head_grad_norms'].items():
        assert norms[key] == pytest.approx(value, rel=1e-4, abs=1e-5), key


@pytest.fixture(scope='module')
def raw():
    """The case and its arrays, as tensors."""
    z = np.load(DATA / 'two_stage' / f'{NAME}.npz')
    case = json.loads(str(z['params']))['cases'][0]
    prefix = f'{case["id"]}/'
    return case, {k.removeprefix(prefix): torch.from_numpy(z[k]) for k in z if k != 'params'}


def small_model(case):
    node = model_config()
    node['roi_head']['bbox_roi_extractor']['out_channels'] = case['channels']
    node['roi_head']['bbox_head'].update(
        in_channels=case['channels'],
        fc_out_channels=case['fc_out_channels'],
        num_classes=case['num_classes'],
    )
    node['test_cfg'] = case['test_cfg']
    return MODELS.build(node).eval()


def by_score(scores, boxes):
    """An order by score; of equal scores, which no one orders, by the left side."""
    return np.lexsort((boxes[:, 0].numpy(), -scores.numpy().round(6)))


def test_proposals_equal_the_reference(raw):
    case, arrays = raw
    model = small_model(case)
    levels = range(5)
    maps = [[arrays[f'rpn_in_{branch}_{level}'] for level in levels] for branch in (0, 1)]
    metas = [dict(img_shape=(case['size'], case['size']))] * 2
    for image, got in enumerate(propose(model.rpn_head, maps, metas, case['test_cfg']['rpn'])):
        assert not got.labels.any()
        scores, boxes = (arrays[f'rpn_out_{image}_{key}'] for key in ('scores', 'bboxes'))
        torch.testing.assert_close(got.scores, scores)
        wanted = boxes[by_score(scores, boxes)]
        found = got.bboxes[by_score(got.scores, got.bboxes)]
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-3)


def test_pooled_features_and_detections_equal_the_reference(raw):
    case, arrays = raw
    model = small_model(case)
    fill_from_names(model)
    head = model.roi_head
    boxes = [arrays[f'roi_in_{image}_proposals'] for image in (0, 1)]
    rois = torch.cat([torch.nn.functional.pad(b, (1, 0), value=i) for i, b in enumerate(boxes)])
    feats = [arrays[f'roi_in_feat_{level}'] for level in range(4)]
    assert torch.equal(roi_levels(rois[:, 1:], 4, 56), arrays['roi_out_levels'])
    pooled = head.bbox_roi_extractor(feats, rois)
    torch.testing.assert_close(pooled, arrays['roi_out_feats'], rtol=1e-5, atol=1e-5)
    cls, reg = head.bbox_head(pooled)
    torch.testing.assert_close(cls, arrays['roi_out_cls'], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(reg, arrays['roi_out_reg'], rtol=1e-4, atol=1e-5)
    # From the features to the detections, both images at once, padded.
    found = [dict(bboxes=each) for each in boxes]
    proposals = Proposals.of([_instances(each) for each in found])
    priors = head.priors(proposals)
    output = head(feats, priors)
    assert isinstance(output, HeadOutput)
    torch.testing.assert_close(output['cls'][1, : len(boxes[1])], cls[len(boxes[0]) :])
    metas = [dict(img_shape=(case['size'], case['size']))] * 2
    results = head.predict(feats, proposals, metas)
    for image, got in enumerate(results):
        scores, boxes, labels = (
            arrays[f'out_{image}_{key}'] for key in ('scores', 'bboxes', 'labels')
        )
        mine, theirs = by_score(got.scores, got.bboxes), by_score(scores, boxes)
        assert torch.equal(got.labels[mine], labels[theirs])
        torch.testing.assert_close(got.scores, scores, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(got.bboxes[mine], boxes[theirs], rtol=1e-5, atol=1e-3)


def _instances(fields):
    from mmengine.structures import InstanceData

    return InstanceData(**fields)
