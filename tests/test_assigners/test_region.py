"""RegionAssigner: values by hand, levels, and OpenMMLab's form."""

import pytest
import torch
from mmengine.structures import InstanceData

from registry_losses.assigners import RegionAssigner
from registry_losses.errors import ConfigError, PairingError, ShapeError
from registry_losses.testing.reference import assigners as reference

from . import judge, scenes


def test_by_hand():
    """One level of stride 8, a gt of 64: its middle fifth, 25.6 to 38.4, is 3 to 5 in cells."""
    priors = judge.grid(8, size=64)  # centres at 0.5, 1.5, ... cells
    found = RegionAssigner(0.2, 0.5)(priors, scenes.gt_of([[(0, 0, 64, 64)]]))
    assert found.prior.tolist() == [27, 28, 35, 36]
    around = {8 * y + x for y in range(2, 6) for x in range(2, 6)} - {27, 28, 35, 36}
    assert set(found.ignored[0].nonzero()[:, 0].tolist()) == around


def test_the_levels_beside_are_ignored():
    """A gt of 64 belongs to stride 8 at scale 8; on stride 16 its middle half is ignored."""
    priors = judge.grid(8, 16, 32)
    found = RegionAssigner()(priors, scenes.gt_of([[(0, 0, 64, 64)]]))
    assert found.prior.max() < 64
    ignored = found.ignored[0].nonzero()[:, 0]
    assert ignored[ignored >= 64].tolist() == [64 + n for n in (5, 6, 9, 10)]


def test_the_last_gt_decides():
    priors = judge.grid(8, size=64)
    gt = scenes.gt_of([[(0, 0, 64, 64), (0, 0, 64, 64)]])
    assert set(RegionAssigner()(priors, gt).gt.tolist()) == {1}


@pytest.mark.parametrize('options', [(0.5, 0.5, 1), (0.3, 1.0, 2)])
def test_options(options):
    center, around, scale = options
    rule = RegionAssigner(center, around, anchor_scale=scale)
    assert judge.compare(
        rule, lambda image: reference.region(image, *options), kinds=['anchors'], seeds=range(4)
    )


def test_form():
    """The grid is rebuilt from sizes and strides; priors beyond the image are ignored."""
    priors = judge.grid(8, size=64)
    gts = InstanceData(bboxes=torch.tensor([[0.0, 0, 64, 64]]), labels=torch.tensor([2]))
    valid = torch.ones(64, dtype=torch.bool)
    valid[27] = False
    pred = InstanceData(priors=priors.boxes, valid_flags=valid)
    grid = ([(8, 8)], [64], 8, [8])
    result = RegionAssigner().assign(pred, gts, dict(img_shape=(64, 48)), *grid)
    assert (result.gt_inds == 1).nonzero()[:, 0].tolist() == [28, 35, 36]
    assert result.labels.tolist() == [2 if i == 1 else 0 for i in result.gt_inds.tolist()]
    assert (result.gt_inds.view(8, 8)[:, 5:] == -1).all() and result.gt_inds[27] == -1
    with pytest.raises(PairingError, match='ignore instances'):
        RegionAssigner().assign(pred, gts, {}, *grid, gt_instances_ignore=gts)
    with pytest.raises(ShapeError, match='num_level_anchors'):
        RegionAssigner().assign(pred, gts, {}, [(8, 8)], [63], 8, [8])


def test_refuses_ratios_out_of_order():
    with pytest.raises(ConfigError, match='center_ratio'):
        RegionAssigner(0.5, 0.2)
