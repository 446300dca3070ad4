"""CenterRegionAssigner: values by hand, and OpenMMLab's form."""

from dataclasses import replace

import pytest
import torch
from mmengine.structures import InstanceData

from registry_losses.assigners import CenterRegionAssigner
from registry_losses.errors import ConfigError
from registry_losses.testing.reference import assigners as reference

from . import judge, scenes


def test_by_hand():
    """Cells of 8, a gt of 80 around (40, 40): its core 32 to 48, its outer region 20 to 60."""
    priors = judge.grid(8, size=80)
    found = CenterRegionAssigner(0.2, 0.5)(priors, scenes.gt_of([[(0, 0, 80, 80)]], 80))
    assert found.prior.tolist() == [44, 45, 54, 55]
    outer = {10 * y + x for y in range(2, 8) for x in range(2, 8)} - {44, 45, 54, 55}
    assert set(found.ignored[0].nonzero()[:, 0].tolist()) == outer


@pytest.mark.parametrize('dominates', [True, False])
def test_a_core_in_the_outer_region_of_the_same_class(dominates):
    priors = judge.grid(8, size=80)
    gt = scenes.gt_of([[(0, 0, 80, 80), (16, 16, 40, 40)]], 80)
    small = CenterRegionAssigner(0.2, 0.5, foreground_dominate=dominates)
    assert 1 in small(priors, gt).gt.tolist()  # of another class it stays
    same = replace(gt, labels=torch.zeros(1, 2, dtype=torch.long))
    assert (1 in small(priors, same).gt.tolist()) == dominates


def test_options():
    options = (0.5, 0.8, 0.3, True)
    rule = CenterRegionAssigner(0.5, 0.8, 0.3, foreground_dominate=True)
    assert judge.compare(rule, lambda image: reference.center_region(image, *options))


def test_form():
    """Negatives of an outer region are 0 there, and listed with their class."""
    priors = judge.grid(8, size=80)
    gts = InstanceData(bboxes=torch.tensor([[0.0, 0, 80, 80]]), labels=torch.tensor([7]))
    pred = InstanceData(priors=priors.boxes)
    result = CenterRegionAssigner(0.2, 0.5).assign(pred, gts)
    assert result.gt_inds.nonzero()[:, 0].tolist() == [44, 45, 54, 55]
    outer = result.get_extra_property('shadowed_labels')
    assert outer.shape == (32, 2) and (outer[:, 1] == 7).all()
    region = InstanceData(bboxes=torch.tensor([[24.0, 24, 56, 56]]))  # its middle: 32 to 48
    result = CenterRegionAssigner(0.2, 0.5).assign(pred, gts, region)
    assert (result.gt_inds == -1).nonzero()[:, 0].tolist() == [44, 45, 54, 55]


def test_refuses_scales_out_of_order():
    with pytest.raises(ConfigError, match='pos_scale'):
        CenterRegionAssigner(0.5, 0.2)
