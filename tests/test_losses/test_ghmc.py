"""GHMC: densities by hand; the function equals the class."""

import math

import pytest
import torch

import registry_losses.losses as losses

X = torch.tensor([[math.log(9), math.log(1.5)], [math.log(1 / 9), math.log(1 / 9)]])


def test_by_hand():
    """Gradient norms 0.1, 0.4, 0.1, 0.1 in 5 regions: three share one, one is alone."""
    out = losses.GHMC(bins=5)(X, torch.tensor([[1.0, 1], [0, 0]]), reduction_override='none')
    easy, alone = -math.log(0.9) * 4 / 3 / 2, -math.log(0.6) * 4 / 1 / 2
    assert out.flatten().tolist() == pytest.approx([easy, alone, easy, easy], rel=1e-5)


def test_momentum_keeps_counts():
    loss = losses.GHMC(bins=5, momentum=0.75)
    loss(X, torch.tensor([[1.0, 1], [0, 0]]))
    assert loss.acc_sum.tolist() == pytest.approx([0.25 * 3, 0, 0.25, 0, 0])


@pytest.mark.parametrize('reduction', ['none', 'sum', 'mean'])
def test_the_function_equals_the_class(reduction):
    x, labels = torch.linspace(-3, 3, 12).reshape(4, 3), torch.tensor([0, 3, -1, 2])
    options = dict(reduction=reduction, bins=5, class_weight=[2.0, 0.5, 1.0])
    torch.testing.assert_close(
        losses.GHMC(**options)(x, labels), losses.ghmc_loss(x, labels, **options)
    )
