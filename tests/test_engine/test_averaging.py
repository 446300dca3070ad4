"""The warmed-up average of the weights: by hand, and through MMEngine's hook."""

import math

import pytest
import torch
from torch import nn

from registry_losses.engine import ExpMomentumEMA
from registry_losses.engine.averaging import warmed_momentum
from registry_losses.errors import ConfigError


def test_momentum_by_hand():
    assert warmed_momentum(0.25, 0, gamma=1) == pytest.approx(0.25 + 0.75 / math.e)
    assert warmed_momentum(0.0001, 10**6, gamma=2000) == pytest.approx(0.0001)
    steps = [warmed_momentum(0.0001, s, gamma=2000) for s in range(0, 9000, 500)]
    assert steps == sorted(steps, reverse=True) and steps[0] > 0.99


@pytest.mark.parametrize('buffers', [False, True])
def test_average_by_hand(buffers):
    model = nn.BatchNorm1d(1)
    ema = ExpMomentumEMA(model, momentum=0.25, gamma=2, update_buffers=buffers)
    weight, mean = 1.0, 0.0
    for step, value in enumerate((2.0, 4.0, -3.0)):
        with torch.no_grad():
            model.weight.fill_(value)
            model.running_mean.fill_(10 * value)
            model.num_batches_tracked.fill_(step)
        ema.update_parameters(model)
        # The first update copies: MMEngine's classes begin so.
        share = 1.0 if step == 0 else 0.25 + 0.75 * math.exp(-(1 + step) / 2)
        weight += share * (value - weight)
        mean = mean + share * (10 * value - mean) if buffers else 10 * value
        assert ema.module.weight.item() == pytest.approx(weight)
        assert ema.module.running_mean.item() == pytest.approx(mean)
    assert ema.steps == 3
    with pytest.raises(ConfigError, match='gamma'):
        ExpMomentumEMA(model, gamma=0)
