"""KeypointMSELoss and KeypointOHKMMSELoss: naive loops, by property."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import registry_losses.losses as losses

seeds = st.integers(0, 10**6)
few = settings(max_examples=15, deadline=None)


def random(seed, *shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(seed=seeds, b=st.integers(1, 3), k=st.integers(1, 4), skip=st.booleans())
@few
def test_keypoint_mse_with_weights_and_mask(seed, b, k, skip):
    pred, target = random(seed, b, k, 3, 4), random(seed + 1, b, k, 3, 4)
    target[:, 0] = 0  # a map without a keypoint
    weights = (random(seed + 2, b, k) > 0.4).double()
    mask = (random(seed + 3, b, 1, 3, 4) > 0.3).double()
    loss = losses.KeypointMSELoss(use_target_weight=True, skip_empty_channel=skip)
    want = 0.0
    for i in range(b):
        for j in range(k):
            if skip and not target[i, j].any():
                continue
            for y in range(3):
                for x in range(4):
                    d = float(pred[i, j, y, x] - target[i, j, y, x])
                    want += float(weights[i, j] * mask[i, 0, y, x]) * d * d
    got = loss(pred, target, weights, mask)
    assert got.item() == pytest.approx(want / (b * k * 12), rel=1e-6, abs=1e-9)


@given(seed=seeds, b=st.integers(1, 3), topk=st.integers(1, 5))
@few
def test_ohkm_keeps_the_worst_keypoints(seed, b, topk):
    pred, target = random(seed, b, 5, 2, 3), random(seed + 1, b, 5, 2, 3)
    weights = random(seed + 2, b, 5)
    want = 0.0
    for i in range(b):
        each = [
            float(weights[i, j] * (pred[i, j] - target[i, j]).square().mean()) for j in range(5)
        ]
        want += sum(sorted(each, reverse=True)[:topk]) / topk / b
    loss = losses.KeypointOHKMMSELoss(use_target_weight=True, topk=topk)
    assert loss(pred, target, weights).item() == pytest.approx(want, rel=1e-6)


def test_the_function_equals_the_class_of_ohkm():
    pred, target, weight = random(0, 2, 5, 3, 3), random(1, 2, 5, 3, 3), random(2, 2, 5)
    for reduction in ('none', 'sum', 'mean'):
        loss = losses.KeypointOHKMMSELoss(use_target_weight=True, topk=3, reduction=reduction)
        want = losses.keypoint_ohkm_mse_loss(
            pred, target, topk=3, weight=weight[..., None, None], reduction=reduction
        )
        torch.testing.assert_close(loss(pred, target, weight), want)
