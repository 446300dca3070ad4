"""Losses of heatmaps, fields and keypoints: gradients, extremes, nothing at all."""

import pytest
import torch
from torch.autograd import gradcheck

from .cases import CASES, names


def random(seed, *shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


NAMES = [name for name in names('map', 'field') if name != 'gaussian_of_maps'] + ['oks_of_boxes']


@pytest.mark.parametrize('name', NAMES)
def test_gradcheck_empty_and_extremes(name):
    loss = CASES[name].build()
    shape = (3, 4) if name == 'oks_of_boxes' else (2, 4, 2, 2)
    pred, target = random(1, *shape), random(2, *shape)
    if name == 'oks_of_boxes':
        pred, target = pred + torch.tensor([0, 0, 9, 9.0]), target + torch.tensor([0, 0, 9, 9.0])
    assert gradcheck(lambda v: loss(v, target), (pred.requires_grad_(),))
    empty = torch.zeros(0, *shape[1:], requires_grad=True)
    out = loss(empty, torch.zeros_like(empty))
    out.backward()
    assert out == 0 and empty.grad.shape == empty.shape
    far = torch.full(shape, 1e4, requires_grad=True)
    loss(far, target.float()).backward()
    assert torch.isfinite(far.grad).all()
