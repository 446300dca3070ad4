"""An exponential moving average of the weights that warms up, for MMEngine's ``EMAHook``."""

from __future__ import annotations

import math

import torch
from mmengine.model import ExponentialMovingAverage
from torch import Tensor, nn

from ..errors import ConfigError
from ..registry import MODELS


def warmed_momentum(momentum: float, step: int, *, gamma: float) -> float:
    """``m + (1 - m) exp(-(1 + step) / gamma)``: nearly 1 at first, then m.

    Args:
        momentum: m, the share of the current weights in each update in the long run.
        step: Updates done before.
        gamma: Updates after which the excess has fallen to 1 / e.

    Example:
        >>> round(warmed_momentum(0.0001, 1999, gamma=2000), 4)
        0.3679
    """
    return momentum + (1 - momentum) * math.exp(-(1 + step) / gamma)


@MODELS.register_module()
class ExpMomentumEMA(ExponentialMovingAverage):
    """``average += m_t (weights - average)`` with ``m_t`` from :func:`warmed_momentum`.

    Use it by ``custom_hooks=[dict(type='EMAHook', ema_type='ExpMomentumEMA')]``: the
    average follows the weights closely at first, when they are far from what they will
    be. The name and the arguments are those of the class that OpenMMLab's detectors use.

    Args:
        model: The model to average.
        momentum: Share of the current weights in an update, in the long run.
        gamma: Updates of the warm-up.
        interval: Steps between two updates.
        device: Where the average is kept; None: with the model.
        update_buffers: Average the buffers (batch statistics) as well, instead of taking
            the current ones.

    Raises:
        ConfigError: If ``gamma`` is not positive.

    Source: Jocher et al., YOLOv5, ``ModelEMA``, whose decay is ``1 - m_t`` up to one step.
    """

    def __init__(
        self,
        model: nn.Module,
        momentum: float = 0.0002,
        gamma: int = 2000,
        interval: int = 1,
        device: torch.device | None = None,
        update_buffers: bool = False,
    ) -> None:
        super().__init__(model, momentum, interval, device, update_buffers)
        if gamma <= 0:
            raise ConfigError(f'ExpMomentumEMA.gamma: expected above 0, got {gamma}')
        self.gamma = gamma
        self._momentum = momentum

    def update_parameters(self, model: nn.Module) -> None:
        """One update; the momentum is worked out once for all tensors."""
        self._momentum = warmed_momentum(self.momentum, int(self.steps), gamma=self.gamma)
        super().update_parameters(model)

    def avg_func(self, averaged_param: Tensor, source_param: Tensor, steps: int) -> None:
        """``averaged_param`` moves towards ``source_param``, in place."""
        averaged_param.lerp_(source_param, self._momentum)
