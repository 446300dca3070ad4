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
    """Buffers of one chunk, reused for all.

    Args:
        a, b, c: ``(n,)``, for whatever a chunk needs.
        total: ``(n,)``, the value, summed over the chunks place by place: adding up a
            chunk at once would lose its small elements to its large ones.
        damp: Whether logits may be so low that powers of p are denormal numbers.
    """

    a: Tensor
    b: Tensor
    c: Tensor
    total: Tensor
    damp: bool = True

    @classmethod
    def of_size(cls, n: int, like: Tensor, damp: bool) -> 'Scratch':
        """Buffers for chunks of up to ``n`` elements of the dtype of ``like``."""
        a, b, c = (like.new_empty(n) for _ in range(3))
        return cls(a, b, c, like.new_zeros(n), damp)

    def head(self, n: int) -> 'Scratch':
        """The same buffers, cut to ``n`` elements."""
        if n == self.a.numel():
            return self
        return Scratch(self.a[:n], self.b[:n], self.c[:n], self.total[:n], self.damp)


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
    ) -> tuple[Tensor, Tensor]:
        """The weighted, scaled loss of a chunk, and its gradient.

        Args:
            x: ``(n,)`` logits, float32 or float64.
            weigh: Multiplies a chunk by its weights, in place.
            scratch: Buffers.
            grad: ``(n,)``, receives the gradient; None: not wanted.
            scale: Multiplies loss and gradient.
            robust: Be exact for any finite ``x``; else a result that is not finite is
                allowed where ``x`` is huge, and calls for a second, robust run.

        Returns:
            Two buffers ``(n,)`` whose product is the loss.
        """

    def damped_below(self, dtype: torch.dtype) -> float:
        """Logits below this give denormal numbers."""
        return -math.inf


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

    def damped_below(self, dtype: torch.dtype) -> float:
        """Where ``p^(gamma + 1)`` becomes denormal."""
        return _LOG_TINY[dtype] / (self.gamma + 1)

    def chunk(
        self,
        x: Tensor,
        weigh: Callable[[Tensor], Tensor],
        scratch: Scratch,
        grad: Tensor | None,
        scale: float,
        robust: bool,
    ) -> tuple[Tensor, Tensor]:
        """See :meth:`Negative.chunk`.

        E = e^x once, then s = log1p(E), u = 1 + E, p = E / u and, as 1 - p = 1 / u, the
        bracket of the gradient p + gamma s / u in one operation.
        """
        e, s, gamma = scratch.a, scratch.b, self.gamma
        # 2^y is several times cheaper than e^x in torch's CPU kernels.
        torch.mul(x, _LOG2E, out=e)
        if robust or scratch.damp:
            low = self.damped_below(x.dtype) * _LOG2E
            e = e.clamp_(low, 60.0) if robust else e.clamp_min_(low)
        e.exp2_()
        torch.log1p(e, out=s)
        if robust:
            torch.maximum(s, x, out=s)
        u = scratch.c if grad is None else grad
        torch.add(e, 1, out=u)
        p = e.div_(u)
        if grad is None:
            return weigh(self._power(x, s, p, scale)), s
        if gamma == 0:
            grad.copy_(p)
        else:
            torch.addcdiv(p, s, u, value=gamma, out=grad)
        q = weigh(self._power(x, s, p, scale))
        grad.mul_(q)
        return q, s

    def _power(self, x: Tensor, s: Tensor, p: Tensor, scale: float) -> Tensor:
        """``scale p^gamma``, in the place of ``p``."""
        gamma = self.gamma
        if gamma == 0:
            return p.fill_(scale)
        if gamma == 1:
            return p.mul_(scale)
        if gamma in (2, 4):
            if gamma == 4:
                p.square_()
            # A zero that is broadcast costs nothing; multiplying by scale apart would.
            return torch.addcmul(p.new_zeros(()), p, p, value=scale, out=p)
        # log p = x - softplus(x); pow itself costs six times as much.
        torch.sub(x, s, out=p)
        p.mul_(gamma * _LOG2E).clamp_min_(_LOG_TINY[x.dtype] * _LOG2E).exp2_()
        return p.mul_(scale)


@dataclass(frozen=True)
class ElementNegative(Negative):
    """Any element-wise function; its gradient by autograd, one chunk at a time."""

    function: Callable[[Tensor], Tensor]

    def __call__(self, x: Tensor) -> Tensor:
        """The function."""
        return self.function(x)

    def chunk(
        self,
        x: Tensor,
        weigh: Callable[[Tensor], Tensor],
        scratch: Scratch,
        grad: Tensor | None,
        scale: float,
        robust: bool,
    ) -> tuple[Tensor, Tensor]:
        """See :meth:`Negative.chunk`."""
        leaf = x.detach().requires_grad_(grad is not None)
        with torch.set_grad_enabled(grad is not None):
            loss = self.function(leaf)
        weight = weigh(scratch.a.fill_(scale))
        if grad is not None:
            grad.copy_(torch.autograd.grad(loss, leaf, weight)[0])
        return weight, loss.detach()
