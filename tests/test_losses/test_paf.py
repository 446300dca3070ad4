"""PAFLoss: a naive loop, by property."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import registry_losses.losses as losses

seeds = st.integers(0, 10**6)
few = settings(max_examples=15, deadline=None)


def random(seed, *shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(seed=seeds, limbs=st.integers(1, 3))
@few
def test_part_affinity_fields(seed, limbs):
    pred, target = random(seed, 2, 2 * limbs, 2, 3), random(seed + 1, 2, 2 * limbs, 2, 3)
    mask = (random(seed + 2, 2, 2, 3) > 0.5).double()
    want = 0.0
    for i in range(2):
        for c in range(2 * limbs):
            for y in range(2):
                for x in range(3):
                    d = float(pred[i, c, y, x] - target[i, c, y, x])
                    want += float(mask[i, y, x]) * d * d
    got = losses.PAFLoss(reduction='sum')(pred, target, mask)
    assert got.item() == pytest.approx(want, rel=1e-6, abs=1e-9)
