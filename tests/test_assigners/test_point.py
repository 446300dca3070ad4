"""PointAssigner: values by hand and options."""

import pytest

from registry_losses.assigners import PointAssigner
from registry_losses.errors import ConfigError
from registry_losses.testing.reference import assigners as reference

from . import judge, scenes


def test_by_hand():
    """Scale 4: a gt of 32 pixels belongs to level 3, stride 8; one of 8 pixels as well."""
    priors = judge.grid(8, 16, 32)
    gt = scenes.gt_of([[(0, 0, 32, 32), (40, 40, 48, 48), (0, 0, 64, 64)]])
    found = PointAssigner(pos_num=1)(priors, gt)
    # Stride 8: the nearest of the four points around (16, 16), and the one at (44, 44);
    # 64 pixels are level 4: stride 16, one of the four points around (32, 32).
    pairs = {g: n for _, n, g in scenes.pairs_of(found)}
    assert pairs[0] in (9, 10, 17, 18) and pairs[1] == 45 and pairs[2] - 64 in (5, 6, 9, 10)


def test_the_nearer_gt_has_the_point():
    priors = judge.grid(8)
    gt = scenes.gt_of([[(20, 20, 30, 30), (18, 18, 26, 26)]])  # both nearest to (20, 20)
    found = PointAssigner(pos_num=1)(priors, gt)
    assert {(18, 1)} <= {(n, g) for _, n, g in scenes.pairs_of(found)}


@pytest.mark.parametrize('options', [(4, 1), (8, 9)])
def test_options(options):
    rule = PointAssigner(*options)
    assert judge.compare(rule, lambda image: reference.point(image, *options), ties=False)


def test_refuses_no_points():
    with pytest.raises(ConfigError, match='pos_num'):
        PointAssigner(pos_num=0)
