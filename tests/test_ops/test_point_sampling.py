"""A map read between its cells: against a loop, at borders, with its gradient."""

import math

import pytest
import torch

from registry_losses.errors import MissingDependencyError, ShapeError
from registry_losses.ops import sample_at_offsets
from registry_losses.ops.point_sampling import _OPERATORS, Backend


def naive(features, offsets):
    b, c, h, w = features.shape
    out = torch.zeros_like(features)

    def at(plane, y, x):
        return float(plane[y, x]) if 0 <= y < h and 0 <= x < w else 0.0

    for i in range(b):
        for k in range(c):
            for row in range(h):
                for column in range(w):
                    y = row + float(offsets[i, 2 * k, row, column])
                    x = column + float(offsets[i, 2 * k + 1, row, column])
                    top, left = math.floor(y), math.floor(x)
                    dy, dx = y - top, x - left
                    out[i, k, row, column] = sum(
                        at(features[i, k], top + p, left + q)
                        * (dy if p else 1 - dy) * (dx if q else 1 - dx)
                        for p in (0, 1) for q in (0, 1)
                    )  # fmt: skip
    return out


def example(h=3, w=4, scale=2.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(h * w)
    features = torch.randn(2, 3, h, w, generator=generator, dtype=dtype)
    return features, scale * torch.randn(2, 6, h, w, generator=generator, dtype=dtype)


BACKENDS = ['torch', *(name for name, (find, _) in _OPERATORS.items() if find() is not None)]


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('size', [(3, 4), (1, 1)])
def test_equals_the_loop(size, backend: Backend):
    features, offsets = example(*size)
    found = sample_at_offsets(features, offsets, backend=backend)
    assert torch.allclose(found, naive(features, offsets), atol=1e-6)


def test_values_by_hand():
    features = torch.tensor([[[[1.0, 3], [5, 7]]]])
    offsets = torch.zeros(1, 2, 2, 2)
    assert torch.equal(sample_at_offsets(features, offsets), features)
    offsets[0, 1] = 0.5  # half a cell to the right
    assert sample_at_offsets(features, offsets).flatten().tolist() == [2, 1.5, 6, 3.5]
    offsets[0, 1], offsets[0, 0] = 0, -1
    assert sample_at_offsets(features, offsets).flatten().tolist() == [0, 0, 1, 3]


def test_gradients_of_both():
    features, offsets = example(2, 3, scale=0.3)
    inputs = (features.requires_grad_(), offsets.requires_grad_())
    assert torch.autograd.gradcheck(sample_at_offsets, inputs)


def test_errors(monkeypatch):
    features, offsets = example()
    with pytest.raises(ShapeError, match='offsets'):
        sample_at_offsets(features, offsets[:, :4])
    monkeypatch.setitem(_OPERATORS, 'mmcv', (lambda: None, 'mmcv'))
    with pytest.raises(MissingDependencyError, match='install mmcv'):
        sample_at_offsets(features, offsets, backend='mmcv')
    with pytest.raises(ValueError, match='expected auto, torch, torchvision, mmcv'):
        sample_at_offsets(features, offsets, backend='cuda')  # type: ignore[arg-type]
