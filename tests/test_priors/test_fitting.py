"""Anchors fitted to boxes: by hand, and against boxes drawn around known anchors."""

import numpy as np
import pytest

from registry_losses.errors import DataError
from registry_losses.priors.fitting import (
    best_recall,
    fit_anchors,
    fit_grid_anchors,
    fit_regress_ranges,
    shape_iou,
)


def around(anchors, count=200, spread=0.06, seed=0):
    rng = np.random.default_rng(seed)
    chosen = np.array(anchors, float)[rng.integers(len(anchors), size=count)]
    return chosen * np.exp(rng.normal(0, spread, chosen.shape))


def test_overlaps_by_hand():
    found = shape_iou(np.array([[10.0, 10], [20, 5]]), np.array([[10.0, 10], [10, 20]]))
    assert found.tolist() == [[1, 0.5], [pytest.approx(50 / 150), pytest.approx(50 / 250)]]
    assert best_recall(np.array([[10.0, 10], [20, 5]]), np.array([[10.0, 10]])) == 0.5


def test_anchors_of_clusters_are_found():
    wanted = np.array([[8, 12], [30, 14], [60, 70.0]])
    found = fit_anchors(around(wanted), 3)
    assert np.abs(np.log(found / wanted)).max() < 0.05
    assert (fit_anchors(around(wanted), 3) == found).all()
    assert best_recall(around(wanted), found) == 1
    more = shape_iou(around(wanted), fit_anchors(around(wanted), 9)).max(1).mean()
    assert more > shape_iou(around(wanted), found).max(1).mean()
    with pytest.raises(DataError, match='2 different box sizes are too few for 3'):
        fit_anchors(np.array([[1.0, 2], [3, 4], [1, 2]]), 3)


def test_grid_anchors_take_as_many_ratios_as_it_needs():
    square = fit_grid_anchors(around([[16, 16], [24, 24], [40, 40]]), (4, 8, 16))
    assert square.ratios == (pytest.approx(1, abs=0.05),) and square.recall == 1
    two = fit_grid_anchors(around([[32, 12], [12, 32]]), (4, 8, 16))
    assert len(two.ratios) >= 2 and two.ratios[0] < 0.5 and two.ratios[-1] > 2
    # The settings mean what the generator makes of them.
    from registry_losses.priors import AnchorGenerator

    generator = AnchorGenerator(
        octave_base_scale=two.octave_base_scale,
        scales_per_octave=3,
        ratios=list(two.ratios),
        strides=[4, 8, 16],
    )
    made = np.concatenate([b.numpy() for b in generator.base_anchors])
    made = made[:, 2:] - made[:, :2]
    key = lambda a: a[np.lexsort(np.round(a, 3).T)]  # noqa: E731
    assert np.allclose(key(made), key(two.anchors((4, 8, 16))), rtol=1e-4)


def test_ranges_share_the_boxes_out():
    sizes = np.stack([np.linspace(10, 100, 300)] * 2, 1)
    (low, a), (b, c), (d, high) = fit_regress_ranges(sizes, (4, 8, 16))
    assert (low, high) == (-1, 1e8) and a == b < c == d
    reach = sizes.max(1) * 0.625
    assert 80 < (reach <= a).sum() < 120
    assert fit_regress_ranges(sizes, (8,)) == ((-1.0, 1e8),)
    same = fit_regress_ranges(np.full((9, 2), 500.0), (4, 8, 16))
    assert same[0][1] == 48 and same[1][1] == 96  # no more than 12 strides
