"""Reads the reference outputs (mmdet 3.3.0, MMYOLO 0.6.0) and rebuilds their priors."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from registry_losses.priors import (
    AnchorGenerator,
    MlvlPointGenerator,
    SSDAnchorGenerator,
    YOLOAnchorGenerator,
)
from registry_losses.structures import Priors

DATA = Path(__file__).parents[1] / 'data' / 'components'
HEIGHT, WIDTH = 256, 320


def cases(component: str) -> Iterator[tuple[dict, dict[str, Tensor]]]:
    """Each case with its arrays."""
    with np.load(DATA / f'assign_{component}.npz') as stored:
        for case in json.loads(str(stored['params']))['cases']:
            arrays = {}
            for name in case['arrays']:
                value = stored[f'{case["id"]}/{name}']
                value = value.astype(np.int64) if value.dtype == np.int16 else value
                arrays[name] = torch.from_numpy(value)
            yield case, arrays


def shared(component: str, name: str) -> Tensor:
    """An array that all cases share."""
    with np.load(DATA / f'assign_{component}.npz') as stored:
        return torch.from_numpy(stored[f'shared_priors_{name}'])


def _feature_sizes(strides: list[int]) -> list[tuple[int, int]]:
    return [(math.ceil(HEIGHT / s), math.ceil(WIDTH / s)) for s in strides]


def max_iou_priors(config: str) -> Priors:
    """The priors of a MaxIoUAssigner config."""
    p3, p2 = [8, 16, 32, 64, 128], [4, 8, 16, 32, 64]
    ratios = [0.5, 1.0, 2.0]
    if config == 'retina':
        kwargs = dict(ratios=ratios, octave_base_scale=4, scales_per_octave=3)
        return AnchorGenerator(p3, **kwargs)(_feature_sizes(p3))
    if config in ('rpn', 'rcnn'):
        return AnchorGenerator(p2, ratios=ratios, scales=[8])(_feature_sizes(p2))
    if config == 'ssd':
        strides = [8, 16, 32, 64, 100, 300]
        shapes = [[2], [2, 3], [2, 3], [2, 3], [2], [2]]
        generator = SSDAnchorGenerator(strides, shapes, basesize_ratio_range=(0.15, 0.9))
        return generator([(n, n) for n in (38, 19, 10, 5, 3, 1)])
    return square_priors()


def square_priors() -> Priors:
    """One square anchor a cell, eight strides wide (ATSS)."""
    strides = [8, 16, 32, 64, 128]
    generator = AnchorGenerator(strides, ratios=[1.0], octave_base_scale=8, scales_per_octave=1)
    return generator(_feature_sizes(strides))


def point_priors(strides: list[int], offset: float, box_scale: float = 8) -> Priors:
    """Points of several levels."""
    return MlvlPointGenerator(strides, offset, box_scale=box_scale)(_feature_sizes(strides))


def yolo_priors(*, coarse_first: bool = True) -> Priors:
    """YOLOv3's anchors, and with the fine level first YOLOv5's."""
    shapes = {
        32: [(116, 90), (156, 198), (373, 326)],
        16: [(30, 61), (62, 45), (59, 119)],
        8: [(10, 13), (16, 30), (33, 23)],
    }
    strides = sorted(shapes, reverse=coarse_first)
    generator = YOLOAnchorGenerator(strides, [shapes[s] for s in strides])
    return generator(_feature_sizes(strides))


def instances(arrays: dict[str, Tensor]) -> tuple:
    """``gt_instances`` and ``gt_instances_ignore`` of a case."""
    gts = SimpleNamespace(bboxes=arrays['in_gt_bboxes'], labels=arrays['in_gt_labels'])
    regions = arrays.get('in_gt_ignore')
    return gts, None if regions is None else SimpleNamespace(bboxes=regions)
