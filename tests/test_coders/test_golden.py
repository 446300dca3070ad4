"""Coders against stored outputs of mmdet and MMYOLO."""

import json
from pathlib import Path

import numpy as np
import torch

from registry_losses.coders import YOLOV5BBoxCoder
from registry_losses.registry import TASK_UTILS

DATA = Path(__file__).parents[1] / 'data' / 'components'


def reference_cases(kind):
    arrays = np.load(DATA / f'coder_{kind}.npz')
    for case in json.loads(str(arrays['params']))['cases']:
        tensors = {name: torch.tensor(arrays[f'{case["id"]}/{name}']) for name in case['arrays']}
        coder = TASK_UTILS.build(dict(type=kind, **case['kwargs']))
        yield case, tensors, coder


def same(ours, theirs):
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-4)


def test_delta_equals_mmdet():
    """Reference outputs of mmdet 3.3.0."""
    for case, t, coder in reference_cases('DeltaXYWHBBoxCoder'):
        priors, deltas, shape = t['in_priors'], t['in_deltas'], case['max_shape_hw']
        same(coder.encode(priors, t['in_gt']), t['out_encode'])
        same(coder.decode(priors, deltas, max_shape=shape), t['out_decode'])
        same(coder.decode(priors, deltas), t['out_decode_noshape'])
        same(coder.decode(priors, deltas.repeat(1, 3), max_shape=shape), t['out_decode_multi'])
        batch = torch.stack((deltas, -deltas))
        shapes = torch.tensor([shape, shape])
        same(coder.decode(priors.expand(2, -1, 4), batch, max_shape=shapes), t['out_decode_batch'])
        same(coder.decode(priors, batch, max_shape=shape), t['out_decode_batch'])


def test_distances_equal_mmdet():
    """Reference outputs of mmdet 3.3.0."""
    for case, t, coder in reference_cases('DistancePointBBoxCoder'):
        points, shape = t['in_points'], case['max_shape_hw']
        encoded = coder.encode(points, t['in_gt'], max_dis=case['max_dis'], eps=case['eps'])
        same(encoded, t['out_encode'])
        same(coder.decode(points, t['in_dist'], max_shape=shape), t['out_decode'])
        same(coder.decode(points, t['in_dist']), t['out_decode_noshape'])


def test_tblr_equals_mmdet():
    """Reference outputs of mmdet 3.3.0."""
    for case, t, coder in reference_cases('TBLRBBoxCoder'):
        same(coder.encode(t['in_priors'], t['in_gt']), t['out_encode'])
        decoded = coder.decode(t['in_priors'], t['in_tblr'], max_shape=case['max_shape_hw'])
        same(decoded, t['out_decode'])


def test_yolo_equals_mmdet():
    """Reference outputs of mmdet 3.3.0; the places predicted are past their sigmoid."""
    for _, t, coder in reference_cases('YOLOBBoxCoder'):
        same(coder.encode(t['in_priors'], t['in_gt'], t['in_stride']), t['out_encode'])
        same(coder.decode(t['in_priors'], t['in_pred'], t['in_stride']), t['out_decode'])


def test_yolov5_equals_mmyolo():
    """Reference outputs of mmyolo 0.6.0, by its call on raw outputs, and by ours."""
    for _, t, coder in reference_cases('YOLOv5BBoxCoder'):
        same(coder.decode(t['in_priors'], t['in_pred'], t['in_stride']), t['out_decode'])
        encoded = coder.activate(t['in_pred'])
        same(coder.decode(t['in_priors'], encoded, stride=t['in_stride']), t['out_decode'])
        plain = YOLOV5BBoxCoder().decode(t['in_priors'], encoded, t['in_stride'])
        same(plain, t['out_decode'])
