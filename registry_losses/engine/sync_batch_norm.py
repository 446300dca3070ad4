"""Batch norm over the images of all ranks, on a CPU.

Legend: B images of a rank, C channels, W ranks.
"""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import get_world_size
from torch import Tensor, nn
from torch import distributed as torch_dist


class _SumOverRanks(torch.autograd.Function):
    """The sum of a tensor over all ranks.

    Each rank's loss depends on it, so the gradients of all ranks are summed on the way back.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        torch_dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        total = grad.clone()
        torch_dist.all_reduce(total)
        return total


class CPUSyncBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm whose mean and variance are those of the images of all ranks.

    Stands for ``torch.nn.SyncBatchNorm``, which refuses to run on a CPU; parameters, buffers
    and their names are the same. Two messages of C numbers a layer and step. A rank may have
    another number of images than the others.

    Args:
        num_features: C.
        eps: Added to the variance.
        momentum: Of the running values; None for their plain average.
        affine: Whether there are weight and bias.
        track_running_stats: Whether there are running values.

    Source: Peng et al., MegDet (2018); Ioffe and Szegedy, Batch Normalization
    (2015), algorithm 1.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f'expected at least (B, C), got {tuple(input.shape)}')

    def forward(self, input: Tensor) -> Tensor:
        """``(B, C, ...)``; in evaluation and on one rank plain batch norm."""
        if not self.training or get_world_size() == 1:
            return super().forward(input)
        self._check_input_dim(input)
        x = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input
        channels = x.shape[1]
        shape = (1, channels, *(1,) * (x.dim() - 2))
        dims = [d for d in range(x.dim()) if d != 1]
        count = x.new_tensor([x.numel() / channels])
        sums: Tensor = _SumOverRanks.apply(torch.cat((x.sum(dims), count)))
        total = sums[-1].detach()
        mean = sums[:-1] / total
        # A second message, as E[x^2] - E[x]^2 would cancel.
        centered = x - mean.view(shape)
        variance: Tensor = _SumOverRanks.apply(centered.square().sum(dims)) / total
        self._track(mean.detach(), variance.detach(), total)
        out = centered * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            out = out * self.weight.view(shape) + self.bias.view(shape)
        return out.to(input.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, total: Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        unbiased = variance * total / (total - 1).clamp(min=1)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), share)


def synchronize_batch_norms(module: nn.Module) -> nn.Module:
    """Replace every batch norm of a model by one over all ranks; parameters are kept."""
    out = module
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        out = CPUSyncBatchNorm(
            module.num_features, module.eps, module.momentum, module.affine,
            module.track_running_stats,
        )  # fmt: skip
        if module.affine:
            out.weight, out.bias = module.weight, module.bias
        out.running_mean, out.running_var = module.running_mean, module.running_var
        out.num_batches_tracked = module.num_batches_tracked
        out.training = module.training
    for name, child in module.named_children():
        out.add_module(name, synchronize_batch_norms(child))
    return out
