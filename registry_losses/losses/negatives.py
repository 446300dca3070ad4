"""The loss of a logit whose target is zero, with its gradient, chunk by chunk.

Shapes: n logits of a chunk.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_LOG2E = math.log2(math.e)
_LOG_TINY = {torch.float32: -85.0, torch.float64: -700.0}


def softplus(x: Tensor) -> Tensor:
    """``log(1 + e^x)``, exact to the last digits on both sides (``F.softplus`` is not)."""
    return -F.logsigmoid(-x)


@dataclass
class Scratch:
    """Buffers of one chunk, reused for all; ``grad`` is where the gradient goes."""

    a: Tensor
    b: Tensor
    c: Tensor
    zero: Tensor
    total: Tensor

    @classmethod
    def like(cls, chunk: Tensor) -> 'Scratch':
        """Buffers for chunks up to the size of ``chunk``."""
        a, b, c = (torch.empty_like(chunk) for _ in range(3))
        return cls(a, b, c, torch.zeros_like(chunk), torch.zeros_like(chunk))

    def head(self, n: int) -> 'Scratch':
        """The same buffers, cut to ``n`` elements."""
        if n == self.a.numel():
            return self
        return Scratch(self.a[:n], self.b[:n], self.c[:n], self.zero[:n], self.total[:n])


class Negative(ABC):
    """An element-wise loss at target zero."""

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """The loss by differentiable operations, finite for any finite ``x``."""

    @abstractmethod
    def chunk(
        self,
        x: Tensor,
        weigh: Callable[[Tensor], Tensor],
        scratch: Scratch,
        grad: Tensor | None,
        scale: float,
        robust: bool,
    ) -> Tensor:
        """Add the weighted loss of a chunk to ``scratch.total`` and write its gradient.

        Args:
            x: ``(n,)`` logits, float32 or float64.
            weigh: Multiplies a chunk by its weights, in place.
            scratch: Buffers.
            grad: ``(n,)``, receives ``scale`` times the gradient; None: not wanted.
            scale: See ``grad``.
            robust: Be exact for any finite ``x``; else a result that is not finite is
                allowed where ``|x|`` is huge, and calls for a second, robust run.

        Returns:
            A pair of buffers ``(n,)`` whose product is the weighted loss.
        """


@dataclass(frozen=True)
class PowerNegative(Negative):
    """``p^gamma softplus(x)`` with ``p = sigmoid(x)``.

    The negative term of binary cross entropy (gamma 0), of focal, quality focal and
    varifocal loss and of the Gaussian focal loss, each up to a constant factor. Its
    gradient is ``p^gamma (p + gamma softplus(x) (1 - p))``.
    """

    gamma: float

    def __call__(self, x: Tensor) -> Tensor:
        """See the class; ``p^gamma`` by its logarithm, whose gradient never overflows."""
        if self.gamma == 0:
            return softplus(x)
        return torch.exp(self.gamma * F.logsigmoid(x)) * softplus(x)

    def chunk(self, x, weigh, scratch, grad, scale, robust):
        """See :meth:`Negative.chunk`.

        E = e^x once, then u = 1 + E, s = log1p(E), p = E / u and, as 1 - p = 1 / u,
        the bracket of the gradient p + gamma s / u in one operation.
        """
        e, s, p, gamma = scratch.a, scratch.b, scratch.c, self.gamma
        # p^(gamma + 1) must stay above the denormals, which are slow; and
        # 2^y is much cheaper than e^x in torch's CPU kernels.
        low = _LOG_TINY[x.dtype] / (gamma + 1) * _LOG2E
        torch.mul(x, _LOG2E, out=e)
        e = (e.clamp_(low, 60.0) if robust else e.clamp_min_(low)).exp2_()
        torch.log1p(e, out=s)
        if robust:
            torch.maximum(s, x, out=s)
        u = p if grad is None else grad
        torch.add(e, 1, out=u)
        torch.div(e, u, out=p)
        if grad is not None and gamma != 0:
            torch.addcdiv(p, s, u, value=gamma, out=grad)
        q = self._power(x, s, p, e)
        if q is None:
            q = e.fill_(1.0)
        weigh(q)
        if grad is not None:
            torch.addcmul(scratch.zero, q, p if gamma == 0 else grad, value=scale, out=grad)
        return q, s

    def _power(self, x: Tensor, s: Tensor, p: Tensor, out: Tensor) -> Tensor | None:
        """``p^gamma`` into ``out``; None for gamma 0."""
        gamma = self.gamma
        if gamma == 0:
            return None
        if gamma == 1:
            return out.copy_(p)
        if gamma in (2, 3, 4):
            torch.square(p, out=out)
            if gamma == 4:
                out.square_()
            return out.mul_(p) if gamma == 3 else out
        # log p = x - softplus(x); pow itself costs six times as much.
        torch.sub(x, s, out=out)
        return out.mul_(gamma * _LOG2E).clamp_min_(_LOG_TINY[x.dtype] * _LOG2E).exp2_()


@dataclass(frozen=True)
class ElementNegative(Negative):
    """Any element-wise function; its gradient by autograd, one chunk at a time."""

    function: Callable[[Tensor], Tensor]

    def __call__(self, x: Tensor) -> Tensor:
        """The function."""
        return self.function(x)

    def chunk(self, x, weigh, scratch, grad, scale, robust):
        """See :meth:`Negative.chunk`."""
        leaf = x.detach().requires_grad_(grad is not None)
        with torch.set_grad_enabled(grad is not None):
            loss = self.function(leaf)
        weight = weigh(scratch.a.fill_(1.0))
        if grad is not None:
            (slope,) = torch.autograd.grad(loss, leaf, weight)
            torch.mul(slope, scale, out=grad)
        scratch.b.copy_(loss.detach())
        return weight, scratch.b
