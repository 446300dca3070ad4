"""GHMR: densities by hand; the function equals the class."""

import pytest
import torch

import registry_losses.losses as losses


def test_by_hand():
    """d / sqrt(d^2 + mu^2) with d = 3, mu = 4 is 0.6; of d = 0 it is 0: one each."""
    out = losses.GHMR(mu=4.0)(torch.tensor([3.0, 0.0]), torch.zeros(2), reduction_override='none')
    assert out.tolist() == pytest.approx([(5 - 4) * 2 / 1 / 2, 0.0])


@pytest.mark.parametrize('reduction', ['none', 'sum', 'mean'])
def test_the_function_equals_the_class(reduction):
    pred, target = torch.linspace(-1, 1, 12), torch.linspace(0, 2, 12)
    options = dict(reduction=reduction, bins=5, mu=0.1)
    torch.testing.assert_close(
        losses.GHMR(**options)(pred, target), losses.ghmr_loss(pred, target, **options)
    )
