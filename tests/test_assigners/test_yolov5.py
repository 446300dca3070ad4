"""YOLOV5Assigner: values by hand and its thresholds."""

import pytest

from registry_losses.assigners import YOLOV5Assigner
from registry_losses.testing.reference import assigners as reference

from . import judge, scenes


def test_by_hand():
    """Stride 10, one anchor of 10 x 10: the cell and its two nearest neighbours."""
    priors = scenes.grid_priors([scenes.square_level(40, 10, [(10, 10)])])
    cases = {
        (11, 11, 17, 17): [(0, 1), (1, 0), (1, 1)],  # centre (14, 14): left, up
        (13, 13, 19, 19): [(1, 1), (1, 2), (2, 1)],  # centre (16, 16): right, down
        (0, 0, 6, 6): [(0, 0)],  # centre (3, 3): no cell to the left or above
        (0, 0, 80, 6): [],  # eight times as wide as the anchor
        (37, 11, 47, 17): [(0, 3), (1, 3)],  # centre (42, 14), beyond the grid
    }
    for box, cells in cases.items():
        found = YOLOV5Assigner()(priors, scenes.gt_of([[box]], size=40))
        assert [divmod(n, 4) for n in found.prior.tolist()] == cells, box


def test_the_ratio_is_exclusive():
    """A gt exactly ``prior_match_thr`` times as wide as the anchor does not fit."""
    priors = judge.grid(10, size=80)
    for width, count in ((40, 0), (39, 3)):
        gt = scenes.gt_of([[(42 - width / 2, 8, 42 + width / 2, 18)]], 80)
        assert YOLOV5Assigner()(priors, gt).num_pairs == count


def test_a_prior_may_have_two_gts():
    priors = judge.grid(10, size=40)
    gt = scenes.gt_of([[(11, 11, 17, 17), (12, 12, 18, 18)]], 40)
    found = YOLOV5Assigner()(priors, gt)
    assert not found.one_to_one
    assert {(5, 0), (5, 1)} <= {(n, g) for _, n, g in scenes.pairs_of(found)}


@pytest.mark.parametrize('options', [(2.0, 0.5), (4.0, 0.2)])
def test_options(options):
    rule = YOLOV5Assigner(*options)
    assert judge.compare(rule, lambda image: reference.yolov5(image, *options))
