"""AdaptiveWingLoss: a naive loop, by property."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import registry_losses.losses as losses

seeds = st.integers(0, 10**6)
few = settings(max_examples=15, deadline=None)


def random(seed, *shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(seed=seeds, theta=st.sampled_from([0.3, 0.5, 0.8]))
@few
def test_adaptive_wing(seed, theta):
    pred, target = random(seed, 1, 2, 2, 3) * 2 - 0.5, random(seed + 1, 1, 2, 2, 3)
    got = losses.AdaptiveWingLoss(theta=theta)(pred, target, reduction_override='none')
    alpha, omega = 2.1, 14.0
    for p, v, out in zip(*(t.flatten().tolist() for t in (pred, target, got))):
        d, e = abs(p - v), alpha - v
        slope = omega / (1 + theta**e) * e * theta ** (e - 1)
        curve = omega * math.log(1 + d**e)
        line = slope * d - (theta * slope - omega * math.log(1 + theta**e))
        assert out == pytest.approx(curve if d < theta else line, rel=1e-6)
