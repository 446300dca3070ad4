"""SparseJob: a loss on sparse targets, all but its logits; and its plain formula.

Shapes: R rows (class vectors), C classes, E entries.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..reduction import in_float
from .negatives import Negative, value_and_gradient


@dataclass(frozen=True, eq=False)
class SparseJob:
    """A sparse loss but for its logits.

    Args:
        on_negatives: The loss of a logit whose target is 0.
        flat: ``(E,)`` int64 index of each entry in the flattened ``(R * C)``; no doubles.
        on_targets: The loss of the entries, ``(E,)`` logits to ``(E,)`` losses without weights.
        negative_weight: What multiplies the loss on negatives alone.
        target_weight: ``(E,)`` or a number, what multiplies the loss on targets.
        positive_weight: ``(E,)`` or a number: every entry is a positive of value 1 whose loss
            is that times ``on_negatives(-x)``; None where that does not hold.
        row: ``(R,)`` float weights of rows, or None.
        column: ``(C,)`` weights of the *negative* terms of each class, or None.
        full: ``(R, C)`` float weights of single logits, or None.
        scale: What multiplies the sum: a number or a 0-d tensor.
        compile: Whether the CPU pass may be compiled.
    """

    on_negatives: Negative
    flat: Tensor
    on_targets: Callable[[Tensor], Tensor]
    negative_weight: float = 1.0
    target_weight: Tensor | float = 1.0
    row: Tensor | None = None
    column: Tensor | None = None
    full: Tensor | None = None
    scale: Tensor | float = 1.0
    positive_weight: Tensor | float | None = None
    compile: bool = False

    def elements(self, x: Tensor) -> Tensor:
        """``(R, C)`` weighted, scaled losses by the plain formula, for autograd."""
        loss = self.on_negatives(x) * self.negative_weight
        if self.row is not None:
            loss = loss * self.row[:, None]
        if self.column is not None:
            loss = loss * self.column
        if self.full is not None:
            loss = loss * self.full
        entries = self.on_targets(x.reshape(-1)[self.flat]) * self.target_weight
        flat = loss.reshape(-1).index_put((self.flat,), entries.to(loss.dtype))
        return flat.reshape(x.shape) * self.scale

    def entries(self, x: Tensor, need_grad: bool) -> tuple[Tensor, Tensor | None]:
        """``(E,)`` weighted, unscaled losses of the entries, and their gradients."""
        leaf = in_float(x.detach().reshape(-1).index_select(0, self.flat))
        if self.positive_weight is not None and leaf.device.type == 'cpu':
            return self.mirrored(*value_and_gradient(self.on_negatives, -leaf, need_grad))
        with torch.set_grad_enabled(need_grad):
            leaf.requires_grad_(need_grad)
            losses = self.on_targets(leaf) * self.target_weight
            if not need_grad:
                return losses, None
            (grad,) = torch.autograd.grad(losses.sum(), leaf)
        return losses.detach(), grad

    def mirrored(self, loss: Tensor, grad: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """:meth:`entries`, from ``on_negatives(-x)`` and its derivative there."""
        weight = self.target_weight * self.positive_weight  # type: ignore[operator]
        return loss * weight, None if grad is None else grad * -weight

    def weigh_entries(self, loss: Tensor, num_classes: int) -> Tensor:
        """``(E,)`` losses of the entries as negatives, times the weights of such."""
        if self.row is None and self.column is None and self.full is None:
            return loss
        rows = torch.div(self.flat, num_classes, rounding_mode='floor')
        if self.row is not None:
            loss = loss * self.row.index_select(0, rows)
        if self.column is not None:
            loss = loss * self.column.index_select(0, self.flat - rows * num_classes)
        if self.full is not None:
            loss = loss * self.full.reshape(-1).index_select(0, self.flat)
        return loss
