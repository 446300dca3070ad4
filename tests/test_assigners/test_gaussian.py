"""GaussianAssigner: values by hand, and points off the grid."""

import math
from dataclasses import replace

import pytest
import torch

from registry_losses.assigners import (
    GaussianAssigner,
)
from registry_losses.errors import ConfigError
from registry_losses.testing.reference import assigners as reference

from . import judge, scenes


def test_by_hand():
    """Sigma 1 around the joint's cell; unbiased, around the joint itself."""
    priors = judge.grid(4, size=32)  # centres at 2, 6, 10, ...
    gt = replace(scenes.gt_of([[(8, 8, 16, 16)]], 32), points=torch.tensor([[[11.0, 10.0]]]))
    found = GaussianAssigner(1.0)(priors, gt)
    assert found.prior.tolist() == [2 * 8 + 2] and found.quality.tolist() == [1]
    heat = dict(zip(found.soft.prior.tolist(), found.soft.value.tolist()))
    assert heat[2 * 8 + 3] == pytest.approx(math.exp(-0.5), abs=1e-6)
    exact = GaussianAssigner(1.0, unbiased=True)(priors, gt)
    assert exact.quality.item() == pytest.approx(math.exp(-(0.25**2) / 2), abs=1e-6)


@pytest.mark.parametrize('sigma', [0.7, 2.0])
@pytest.mark.parametrize('unbiased', [True, False])
def test_options(sigma, unbiased):
    rule = GaussianAssigner(sigma, unbiased)
    assert judge.compare(rule, lambda image: reference.gaussian(image, sigma, unbiased))


def test_points_off_the_map():
    """They have no positive, but the part of their Gaussian that reaches in counts."""
    priors = judge.grid(8)
    boxes = [(54, 54, 74, 74), (60, 20, 90, 24), (-40, 60, 4, 63)]
    found = GaussianAssigner(1.0)(priors, scenes.gt_of([boxes]))
    assert found.gt.tolist() == [0]
    assert set(found.soft.label.tolist()) == {0, 1, 2}


def test_refuses_unknown_options():
    with pytest.raises(ConfigError, match='sigma'):
        GaussianAssigner(sigma=0)
