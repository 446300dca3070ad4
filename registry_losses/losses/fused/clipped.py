"""The loss on negatives of the asymmetric loss, whose easy negatives cost nothing.

Shapes: n logits of a chunk.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .negatives import Negative, Scratch


@dataclass(frozen=True)
class ClippedNegative(Negative):
    """``-d^gamma log(1 - d)`` with ``d = max(sigmoid(x) - clip, 0)`` and clip above 0.

    Its gradient is ``d^(gamma - 1) (d / (1 - d) - gamma log(1 - d)) p (1 - p)`` where d is
    above 0.
    """

    gamma: float
    clip: float
    closed_form = True

    def __call__(self, x: Tensor) -> Tensor:
        """See the class."""
        d = (torch.sigmoid(x) - self.clip).clamp(min=0)
        loss = -torch.log1p(-d)
        if self.gamma:
            loss = loss * d.clamp(min=torch.finfo(x.dtype).tiny).pow(self.gamma)
        return loss

    def chunk(
        self,
        x: Tensor,
        weigh: Callable[[Tensor], Tensor] | None,
        collect: Callable[[Tensor, float], None],
        scratch: Scratch,
        grad: Tensor | None,
        scale: float,
        robust: bool,
    ) -> None:
        """See :meth:`Negative.chunk`; no logit overflows here, so robust runs are alike."""
        d, s, power, gamma = scratch.a, scratch.b, scratch.c, self.gamma
        p = torch.sigmoid(x, out=d if grad is None else grad)
        torch.sub(p, self.clip, out=d).clamp_min_(0)
        torch.neg(d, out=s).log1p_().neg_()  # -log(1 - d)
        if grad is None:
            _power(d, gamma, power).mul_(scale)
            if weigh is not None:
                weigh(power)
            collect(s.mul_(power), 1.0)
            return
        # The slope of the bracket's first part, d / (1 - d), ends where d does.
        bracket = torch.sub(d.new_ones(()), d, out=power)
        torch.div(d, bracket, out=bracket).add_(s, alpha=gamma)
        torch.ops.aten.sigmoid_backward.grad_input(bracket, p, grad_input=grad)
        lower = _power(d, gamma - 1, power).mul_(scale)
        if weigh is not None:
            weigh(lower)
        grad.mul_(lower)
        collect(s.mul_(lower.mul_(d)), 1.0)


def _power(d: Tensor, exponent: float, out: Tensor) -> Tensor:
    """``d^exponent`` where d is above 0, and 0 where it is 0."""
    if exponent == 1:
        return out.copy_(d)
    if exponent in (2, 3):
        torch.square(d, out=out)
        return out.mul_(d) if exponent == 3 else out
    torch.pow(d, exponent, out=out)
    # 0^0 is 1 and 0^-1 infinite, but nothing is charged below the clip.
    return out.masked_fill_(d == 0, 0) if exponent <= 0 else out
