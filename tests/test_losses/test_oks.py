"""OKSLoss: a naive loop, by property."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import registry_losses.losses as losses
from registry_losses.testing.reference.losses import pose

seeds = st.integers(0, 10**6)
few = settings(max_examples=15, deadline=None)


def random(seed, *shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(seed=seeds, n=st.integers(1, 4))
@few
def test_oks(seed, n):
    sigmas = (0.05, 0.1, 0.2)
    pred, target = random(seed, n, 3, 2) * 20, random(seed + 1, n, 3, 2) * 20
    area = random(seed + 2, n) * 500 + 50
    seen = (random(seed + 3, n, 3) > 0.4).double()
    got = losses.OKSLoss(sigmas=sigmas, reduction='none')(
        pred, target, area=area, visible=seen
    ).tolist()
    for i in range(n):
        part = []
        for v in range(3):
            if seen[i, v]:
                d2 = float((pred[i, v] - target[i, v]).square().sum())
                part.append(math.exp(-d2 / (2 * float(area[i]) * (2 * sigmas[v]) ** 2)))
        want = 1 - sum(part) / len(part) if part else 0.0
        assert got[i] == pytest.approx(want, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize('sigmas', [(0.05, 0.1, 0.2), (0.1,)])
def test_the_function_equals_the_class(sigmas):
    pred, target = random(0, 6, 3, 2) * 9, random(1, 6, 3, 2) * 9
    area, seen = random(2, 6) * 200 + 50, random(3, 6, 3).round()
    got = losses.OKSLoss(sigmas=sigmas)(pred, target, area=area, visible=seen)
    want = losses.oks_loss(pred, target, area, sigmas=sigmas, visible=seen)
    torch.testing.assert_close(got, want)


def test_equals_the_plain_formula():
    pred, target, area = random(0, 6, 3, 2) * 9, random(1, 6, 3, 2) * 9, random(2, 6) * 200 + 50
    sigmas = (0.05, 0.1, 0.2)
    got = losses.oks_loss(pred, target, area, sigmas=sigmas, reduction='none')
    torch.testing.assert_close(got, pose.oks(pred, target, area, sigmas))
