"""Stops a run at its first non-finite loss, before the damage reaches a checkpoint."""

from __future__ import annotations

import math
from typing import Any

import torch
from mmengine.dist import all_gather_object, all_reduce, get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from ...errors import NonFiniteLossError
from ...registry import HOOKS


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Stops at the first loss that is NaN or infinite and names the images of its batch.

    The total loss of every step is looked at; MMEngine's log has already read its value,
    so this costs no synchronisation of its own. Before a checkpoint is written the
    weights are looked at too, for a loss can be finite and its gradient not.

    On several ranks all stop together: a rank that saw a bad loss keeps it until the
    ranks compare notes, every ``interval`` steps and before every checkpoint, and each
    then raises with the same message. So none waits for another that is gone.

    Args:
        interval: Steps between two comparisons of the ranks.
    """

    # After the log has read the losses (VERY_HIGH) and before checkpoints (VERY_LOW).
    priority = 'LOW'

    def __init__(self, interval: int = 10) -> None:
        self.interval = interval
        self._finding: str | None = None

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Look at the loss of this step."""
        if outputs and self._finding is None and not _is_finite(outputs.get('loss')):
            self._finding = _describe(runner, data_batch, outputs)
        if get_world_size() == 1 or self.every_n_train_iters(runner, self.interval):
            self._compare_notes()

    def before_checkpoint(self, runner: Any) -> None:
        """Let no checkpoint hold a damaged weight."""
        self._compare_notes()
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        named = [(n, p) for n, p in model.named_parameters() if p.numel() and p.is_floating_point()]
        if not named:
            return
        # One number for the whole model, so one synchronisation.
        sums = torch.stack([p.detach().float().abs().sum() for _, p in named])
        if bool(torch.isfinite(sums).all()):
            return
        bad = [n for n, p in named if not bool(torch.isfinite(p.detach()).all())]
        if bad:
            raise NonFiniteLossError(
                f'iteration {runner.iter + 1}: {len(bad)} weights are not finite though every'
                f' loss was, for instance {bad[0]}: a gradient overflowed. Nothing was saved.'
                ' Lower the learning rate or clip gradients'
                ' (optim_wrapper.clip_grad=dict(max_norm=...)).'
            )

    def _compare_notes(self) -> None:
        findings = [self._finding]
        if get_world_size() > 1:
            flag = torch.tensor([float(self._finding is not None)])
            all_reduce(flag, 'max')
            findings = all_gather_object(self._finding) if flag.item() else []
        texts = [f for f in findings if f]
        if texts:
            self._finding = None
            raise NonFiniteLossError(
                '\n'.join(texts) + '\nNothing of it was saved: the last checkpoint is good. Look'
                ' at these images and their boxes, lower the learning rate, or clip gradients.'
            )


def _is_finite(loss: Any) -> bool:
    return loss is None or math.isfinite(_number(loss))


def _describe(runner: Any, data_batch: Any, outputs: dict) -> str:
    values = ', '.join(f'{k} = {_number(v):.6g}' for k, v in outputs.items() if _is_number(v))
    rank = f' on rank {get_rank()}' if get_world_size() > 1 else ''
    return (
        f'iteration {runner.iter + 1}{rank}: the loss is not finite ({values});'
        f' images: {", ".join(image_names(data_batch)) or "unknown"}.'
    )


def _number(value: Any) -> float:
    return float(value.detach() if isinstance(value, torch.Tensor) else value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) or (
        isinstance(value, torch.Tensor) and value.numel() == 1
    )


def image_names(data_batch: Any) -> list[str]:
    """The image ids of a batch, with the file name where a sample knows it."""
    samples = data_batch.get('data_samples') if isinstance(data_batch, dict) else None
    names = []
    for sample in samples or []:
        path = getattr(sample, 'img_path', None)
        name = str(getattr(sample, 'img_id', '?'))
        names.append(f'{name} ({path})' if path else name)
    return names
