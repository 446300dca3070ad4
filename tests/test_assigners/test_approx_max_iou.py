"""ApproxMaxIoUAssigner: values by hand, and the shapes that OpenMMLab's head hands over."""

import pytest
import torch
from mmengine.structures import InstanceData

from registry_losses.assigners import ApproxMaxIoUAssigner, MaxIoUAssigner
from registry_losses.errors import ConfigError, ShapeError

from . import judge, scenes


def test_by_hand():
    """A gt of 8 x 16 overlaps the square by 1/2, and is one of its approximations."""
    priors = judge.grid(16, size=32)
    gt = scenes.gt_of([[(4, 0, 12, 16)]], 32)
    options = dict(pos_iou_thr=0.6, neg_iou_thr=0.4, min_pos_iou=0.9)
    assert ApproxMaxIoUAssigner(**options)(priors, gt).num_pairs == 0
    found = ApproxMaxIoUAssigner(
        **options, approx_scales=(1.0, 0.5**0.5), approx_ratios=(1.0, 2.0)
    )(priors, gt)
    assert scenes.pairs_of(found) == [(0, 0, 0)]


def test_alone_it_is_max_iou():
    for seed in range(4):
        priors, gt, _ = judge.scene('anchors', seed)
        ours, plain = ApproxMaxIoUAssigner(0.5, 0.4), MaxIoUAssigner(0.5, 0.4)
        found, expected = ours(priors, gt), plain(priors, gt)
        assert scenes.pairs_of(found) == scenes.pairs_of(expected)
        assert torch.equal(found.ignored, expected.ignored)


def test_given_shapes():
    """A prior that is nowhere near counts as its best approximation."""
    priors = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30]])
    approxs = torch.stack((priors, torch.tensor([[50.0, 50, 60, 60], [0, 0, 10, 9]])), dim=1)
    gts = InstanceData(bboxes=torch.tensor([[50.0, 50, 60, 60]]), labels=torch.tensor([3]))
    pred = InstanceData(priors=priors, approxs=approxs)
    result = ApproxMaxIoUAssigner(0.5, 0.4).assign(pred, gts)
    assert result.gt_inds.tolist() == [1, 0] and result.labels.tolist() == [3, -1]
    assert result.max_overlaps.tolist() == [1, 0]
    with pytest.raises(ShapeError, match='approxs'):
        ApproxMaxIoUAssigner(0.5, 0.4).assign(
            InstanceData(priors=priors, approxs=approxs[:, 0]), gts
        )


def test_refuses_no_shape():
    with pytest.raises(ConfigError, match='approx_scales'):
        ApproxMaxIoUAssigner(0.5, 0.4, approx_scales=())
