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
        damp: Whether logits may be so low that powers of p are denormal numbers.
        exact: Whether every element counts, however small beside the others.
    """

    a: Tensor
    b: Tensor
    c: Tensor
    damp: bool = True
    exact: bool = True

    @classmethod
    def of_size(cls, n: int, like: Tensor, *, damp: bool, exact: bool) -> 'Scratch':
        """Buffers for chunks of up to ``n`` elements of the dtype of ``like``."""
        a, b, c = (like.new_empty(n) for _ in range(3))
        return cls(a, b, c, damp, exact)

    def head(self, n: int) -> 'Scratch':
        """The same buffers, cut to ``n`` elements."""
        if n == self.a.numel():
            return self
        return Scratch(self.a[:n], self.b[:n], self.c[:n], self.damp, self.exact)


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
    """``p^gamma (softplus(x) + poly p)`` with ``p = sigmoid(x)``.

    The negative term of binary cross entropy (gamma 0), of focal, quality focal and
    varifocal loss and of the Gaussian focal loss, each up to a constant factor; with
    ``poly`` that of the Poly-1 losses. Its gradient is
    ``p^gamma (p + (gamma softplus(x) + (gamma + 1) poly p) (1 - p))``.
    """

    gamma: float
    poly: float = 0.0

    def __call__(self, x: Tensor) -> Tensor:
        """See the class; powers of p by their logarithm, whose gradient never overflows."""
        loss = softplus(x)
        if self.gamma == self.poly == 0:
            return loss
        log_p = F.logsigmoid(x)
        loss = loss * torch.exp(self.gamma * log_p)
        return loss + self.poly * torch.exp((self.gamma + 1) * log_p) if self.poly else loss

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

        E = e^x once, then s = log(1 + E), u = 1 + E, p = E / u and, as 1 - p = 1 / u, the
        bracket of the gradient p + gamma s / u in one operation.

        log(u) takes a third of the time of log1p(E) and is off by at most 6e-8, which only
        shows where p is small; p^gamma with gamma >= 1 then makes the element vanish
        beside the others, if there are others (``scratch.exact``).
        """
        e, s = scratch.a, scratch.b
        if robust or scratch.damp:
            low = self.damped_below(x.dtype)
            torch.clamp(x, low, 60.0 if robust else None, out=e).exp_()
        else:
            torch.exp(x, out=e)
        u = scratch.c if grad is None else grad
        torch.add(e, 1, out=u)
        if scratch.exact or self.gamma < 1:
            torch.log1p(e, out=s)
        else:
            torch.log(u, out=s)
        if robust:
            torch.maximum(s, x, out=s)
        p = e.div_(u)
        if self.gamma == self.poly == 0:
            q = weigh(scratch.c.fill_(scale))
            if grad is not None:
                torch.mul(p, q, out=grad)
            return q, s
        if grad is not None:
            self._bracket(p, s, u, scratch.c)
        q = p
        if self.poly:
            q = scratch.c.copy_(p)
        q = weigh(self._power(x, s, q, scale))
        if self.poly:
            s.add_(p, alpha=self.poly)
        if grad is not None:
            grad.mul_(q)
        return q, s

    def _bracket(self, p: Tensor, s: Tensor, u: Tensor, spare: Tensor) -> None:
        """What ``p^gamma`` multiplies in the gradient, in the place of ``u``."""
        if self.poly:
            torch.mul(s, self.gamma, out=spare).add_(p, alpha=(self.gamma + 1) * self.poly)
            torch.addcdiv(p, spare, u, out=u)
        else:
            torch.addcdiv(p, s, u, value=self.gamma, out=u)

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
