"""The loss of a logit whose target is zero, with its gradient, chunk by chunk.

Shapes: n logits of a chunk.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

# e^x below this would show the rounding of 1 + e^x in the fifth digit.
LOW = -5.0
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
        zero: 0-d.
        damp: Whether logits may be so low that powers of p are denormal numbers.
        exact: Whether every element counts, however small beside the others.
    """

    a: Tensor
    b: Tensor
    c: Tensor
    zero: Tensor
    damp: bool = True
    exact: bool = True

    @classmethod
    def of_size(cls, n: int, like: Tensor, *, damp: bool, exact: bool) -> 'Scratch':
        """Buffers for chunks of up to ``n`` elements of the dtype of ``like``."""
        a, b, c = (like.new_empty(n) for _ in range(3))
        return cls(a, b, c, like.new_zeros(()), damp, exact)

    def head(self, n: int) -> 'Scratch':
        """The same buffers, cut to ``n`` elements."""
        if n == self.a.numel():
            return self
        return replace(self, a=self.a[:n], b=self.b[:n], c=self.c[:n])


class Negative(ABC):
    """An element-wise loss at target zero.

    Attributes:
        closed_form: Whether :meth:`chunk` does without autograd.
    """

    closed_form = False

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """The loss by differentiable operations, finite for any finite ``x``."""

    @abstractmethod
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
        """Collect the weighted, scaled loss of a chunk, and write its gradient.

        Args:
            x: ``(n,)`` logits, float32 or float64.
            weigh: Multiplies a chunk by its weights, in place; None where there are none.
            collect: Takes a buffer ``(n,)`` and a number whose product is the loss; the buffer
                may change afterwards.
            scratch: Buffers.
            grad: ``(n,)``, receives the gradient; None: not wanted.
            scale: Multiplies loss and gradient.
            robust: Be exact for any ``x`` up to 1e30; else a result that is not finite is
                allowed where ``x`` is huge, and calls for a second, robust run.
        """

    def damped_below(self, dtype: torch.dtype) -> float:
        """Logits below this give denormal numbers."""
        return -math.inf

    def slack(self) -> float:
        """What a small element may be off by in a pass that is not ``scratch.exact``."""
        return 0.0


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
    closed_form = True

    def __call__(self, x: Tensor) -> Tensor:
        """See the class; powers of p by their logarithm, whose gradient never overflows."""
        loss = softplus(x)
        if self.gamma == self.poly == 0:
            return loss
        log_p = F.logsigmoid(x)
        if self.gamma:
            loss = loss * torch.exp(self.gamma * log_p)
        return loss + self.poly * torch.exp((self.gamma + 1) * log_p) if self.poly else loss

    def damped_below(self, dtype: torch.dtype) -> float:
        """Where ``p^(gamma + 1)`` becomes denormal."""
        return _LOG_TINY[dtype] / (self.gamma + 1)

    def slack(self) -> float:
        """The rounding of ``log(1 + e^x)`` below ``x = LOW``, times ``p^gamma`` there."""
        return math.exp(LOW * self.gamma) * 2**-24 if self.gamma >= 1 else 0.0

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
        """See :meth:`Negative.chunk`.

        E = e^x once, then u = 1 + E, s = log(u), p = E / u. With the loss L = q s and
        q = p^gamma, the gradient q (p + gamma s (1 - p)) lies between gamma L and q, at p:
        one operation. Three buffers are written, of which the gradient is one.

        log(u) takes a third of the time of log1p(E) and is off by at most 6e-8, which only
        shows where p is small; p^gamma with gamma >= 1 then makes the element vanish
        beside the others, if there are others (``scratch.exact``).
        """
        e, u = scratch.a, scratch.b
        s = scratch.c if grad is None else grad
        if robust or scratch.damp:
            low = self.damped_below(x.dtype)
            torch.clamp(x, low, 60.0 if robust else None, out=e).exp_()
        else:
            torch.exp(x, out=e)
        torch.add(e, 1, out=u)
        if scratch.exact or self.gamma < 1:
            torch.log1p(e, out=s)
        else:
            torch.log(u, out=s)
        if robust:
            torch.maximum(s, x, out=s)
        p = e.div_(u)
        if self.gamma == self.poly == 0 and weigh is None:
            collect(s, scale)
            if grad is not None:
                torch.mul(p, scale, out=grad)
            return
        q = self._power(x, s, p, scratch.zero, scale, out=u)
        if weigh is not None:
            weigh(q)
        if self.poly:
            above = torch.mul(p, q, out=p if grad is None else scratch.c)
            s.mul_(q).add_(above, alpha=self.poly)
            collect(s, 1.0)
            s.mul_(self.gamma).add_(above, alpha=self.poly)
        else:
            # gamma L in place of L spares the gradient an operation.
            gamma = self.gamma or 1.0
            torch.addcmul(scratch.zero, q, s, value=gamma, out=s)
            collect(s, 1 / gamma)
        if grad is None:
            return
        if self.gamma == self.poly == 0:
            torch.mul(p, q, out=grad)
        else:
            torch.lerp(s, q, p, out=grad)

    def _power(
        self, x: Tensor, s: Tensor, p: Tensor, zero: Tensor, scale: float, out: Tensor
    ) -> Tensor:
        """``scale p^gamma``."""
        gamma = self.gamma
        if gamma == 0:
            return out.fill_(scale)
        if gamma == 1:
            return torch.mul(p, scale, out=out)
        if gamma in (2, 3, 4):
            left = p if gamma == 2 else torch.square(p, out=out)
            # A zero that is broadcast costs nothing; multiplying by scale apart would.
            return torch.addcmul(zero, left, p if gamma < 4 else left, value=scale, out=out)
        # log p = x - softplus(x); pow itself costs six times as much.
        torch.sub(x, s, out=out)
        out.mul_(gamma * _LOG2E).clamp_min_(_LOG_TINY[x.dtype] * _LOG2E).exp2_()
        return out.mul_(scale)


def value_and_gradient(
    negative: Negative, x: Tensor, need_grad: bool
) -> tuple[Tensor, Tensor | None]:
    """The loss of every logit ``(n,)`` of a few, and its gradient; a third of autograd's time."""
    scratch = Scratch.of_size(x.numel(), x, damp=True, exact=True)
    grad = torch.empty_like(x) if need_grad else None
    value = torch.empty_like(x)

    def collect(loss: Tensor, factor: float) -> None:
        torch.mul(loss, factor, out=value)

    negative.chunk(x, None, collect, scratch, grad, 1.0, True)
    return value, grad


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
        weigh: Callable[[Tensor], Tensor] | None,
        collect: Callable[[Tensor, float], None],
        scratch: Scratch,
        grad: Tensor | None,
        scale: float,
        robust: bool,
    ) -> None:
        """See :meth:`Negative.chunk`."""
        leaf = x.detach().requires_grad_(grad is not None)
        with torch.set_grad_enabled(grad is not None):
            loss = self.function(leaf)
        weight = scratch.a.fill_(scale)
        if weigh is not None:
            weigh(weight)
        if grad is not None:
            grad.copy_(torch.autograd.grad(loss, leaf, weight)[0])
        collect(weight.mul_(loss.detach()), 1.0)
