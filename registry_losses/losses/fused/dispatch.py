"""One pass over the logits for the losses of independent classes on sparse targets.

With targets that are zero but for E entries, a loss of sigmoid type is

    L = sum_rc w_rc neg(x_rc) + sum_k [w_k at(x_k, v_k) - w_k neg(x_k)]

so every logit is charged as a negative and the entries are put right afterwards: no
one-hot exists, and value and gradient come from one pass over the logits. Where the
entries' own negative terms outweigh the others they are masked out of the sum, not
subtracted from it: a confident positive would take the digits of everything else with it.

Backends, chosen by device: chunks that fit the cache (CPU), one loop compiled from C (CPU,
on request, :mod:`.native`), a Triton kernel (CUDA, :mod:`.triton`), and
:meth:`SparseJob.elements`, the plain formula, for everything else.

Shapes: R rows (class vectors), C classes, E entries.
"""

from dataclasses import replace

import torch
from torch import Tensor

from ..checks import is_compiling, is_transformed
from ..reduction import in_float
from .cpu_chunks import chunked_pass
from .job import SparseJob
from .native import native_pass
from .negatives import PowerNegative
from .triton import available as triton_available
from .triton import scale_in_place, triton_pass


def fused_sum(x: Tensor, job: SparseJob) -> Tensor:
    """The scaled sum of ``job`` over the logits ``x (R, C)``, 0-d, at least float32."""
    if _plain(x, job):
        return job.elements(in_float(x)).sum()
    return _FusedSum.apply(x, job, torch.is_grad_enabled() and x.requires_grad)


def fused_elements(x: Tensor, job: SparseJob) -> Tensor:
    """The scaled losses of ``job``, element by element: ``(R, C)``, at least float32."""
    # In float16 the gradient must not be rounded before its incoming factor is known.
    if x.device.type != 'cpu' or x.dtype == torch.float16 or _plain(x, job):
        return job.elements(in_float(x))
    return _FusedElements.apply(x, job, torch.is_grad_enabled() and x.requires_grad)


def _plain(x: Tensor, job: SparseJob) -> bool:
    """Whether the plain formula has to serve.

    Under ``torch.compile`` Inductor fuses it by itself; weights or targets that want
    gradients need autograd; other devices have no pass of their own.
    """
    if is_compiling() or x.numel() == 0:
        return True
    weights = (job.row, job.column, job.full, job.scale, job.target_weight)
    if any(isinstance(w, Tensor) and w.requires_grad for w in weights):
        return True
    return x.device.type != 'cpu' and not _has_kernel(x, job)


def _has_kernel(x: Tensor, job: SparseJob) -> bool:
    if x.device.type != 'cuda' or not isinstance(job.on_negatives, PowerNegative):
        return False
    return triton_available() and x.dtype != torch.float64


def _run(x: Tensor, job: SparseJob, need_grad: bool) -> tuple[Tensor, Tensor | None]:
    """Scaled sum and its gradient, by the fastest pass there is for ``x``."""
    if x.device.type == 'cuda':
        return triton_pass(x, job, need_grad)
    if job.compile and isinstance(job.on_negatives, PowerNegative):
        done = native_pass(x, job, need_grad)
        if done is not None:
            return done
    return chunked_pass(x, job, need_grad)


def _needs_formula(grad_out: Tensor) -> bool:
    """Whether a backward pass wants a gradient of its own, or handles a batch at once.

    A batch comes from ``torch.func.vmap`` or, as a tensor of another kind, from
    ``torch.autograd.grad(is_grads_batched=True)``.
    """
    if torch.is_grad_enabled() or is_transformed():
        return True
    probe = getattr(getattr(torch._C, '_functorch', None), 'is_legacy_batchedtensor', None)
    return probe is not None and probe(grad_out)


def _formula_gradient(x: Tensor, job: SparseJob, grad_out: Tensor) -> Tensor:
    """The gradient by the plain formula, of the sum where ``grad_out`` is 0-d."""
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        values = job.elements(in_float(x))
        if grad_out.dim() == 0:
            values = values.sum()
    (grad,) = torch.autograd.grad(values, x, grad_out, create_graph=create_graph)
    return grad


class _FusedSum(torch.autograd.Function):
    """Value and gradient in the forward pass; the backward pass hands the gradient out."""

    @staticmethod
    def forward(ctx, x: Tensor, job: SparseJob, need_grad: bool) -> Tensor:
        # float16 would lose small gradients before a loss scaler can lift them, so
        # there the gradient waits for the incoming factor.
        eager = need_grad and x.dtype != torch.float16
        value, ctx.grad = _run(x, job, eager)
        ctx.job = job
        if need_grad:
            ctx.save_for_backward(x)
        return value

    @staticmethod
    def backward(ctx, grad_out: Tensor) -> tuple[Tensor | None, None, None]:
        (x,) = ctx.saved_tensors
        if _needs_formula(grad_out):
            return _formula_gradient(x, ctx.job, grad_out), None, None
        grad, ctx.grad = ctx.grad, None
        if grad is None:  # float16, or a second backward of a retained graph
            job = replace(ctx.job, scale=ctx.job.scale * grad_out)
            return _run(x, job, True)[1], None, None
        if x.device.type == 'cpu':
            factor = float(grad_out)
            return grad if factor == 1.0 else grad.mul_(factor), None, None
        return scale_in_place(grad, grad_out), None, None


class _FusedElements(torch.autograd.Function):
    """As :class:`_FusedSum`, for an element-wise loss."""

    @staticmethod
    def forward(ctx, x: Tensor, job: SparseJob, need_grad: bool) -> Tensor:
        values = torch.empty(x.shape, dtype=in_float(x[:0]).dtype, device=x.device)
        grad = chunked_pass(x, job, need_grad, values)[1]
        ctx.job, ctx.grad = job, grad
        if need_grad:
            ctx.save_for_backward(x)
        return values

    @staticmethod
    def backward(ctx, grad_out: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        if _needs_formula(grad_out):
            return _formula_gradient(x, ctx.job, grad_out), None, None
        grad, ctx.grad = ctx.grad, None
        if grad is None:
            grad = chunked_pass(x, ctx.job, True)[1]
        return grad.mul_(grad_out), None, None
