"""Saving: the new checkpoint is safe before an old one goes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook as _CheckpointHook

from ...registry import HOOKS
from ..checkpoint import ATOMIC_BACKEND, AtomicLocalBackend, make_plain, remove_unfinished
from ..gradients import gather_gradients
from ..stopping import remove_interrupted


@HOOKS.register_module()
class CheckpointHook(_CheckpointHook):
    """Saves checkpoints that survive a kill at any moment.

    Takes the arguments of MMEngine's hook of this name. Stands for its order of things,
    which deletes the oldest checkpoint (the only one, with ``max_keep_ckpts=1``) and the
    previous best before the new file is written, and writes into the final name.
    """

    backend_args: dict[str, Any] | None
    best_ckpt_path: str | None
    best_ckpt_path_dict: dict[str, str | None]
    gradients: Sequence[dict[str, torch.Tensor]] = ()  # that wait for their update, by rank

    def before_train(self, runner: Any) -> None:
        """Choose the storage, and clear away what a killed run left unfinished."""
        if self.backend_args is None and '://' not in str(self.out_dir or ''):
            self.backend_args = dict(backend=ATOMIC_BACKEND)
        super().before_train(runner)
        for folder in {str(self.out_dir), str(runner.work_dir)}:
            if is_main_process() and Path(folder).is_dir():
                remove_unfinished(folder)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Leave only plain data in the file, and add gradients being accumulated."""
        if self.gradients and 'optimizer' in checkpoint:
            checkpoint['gradients'] = self.gradients
        make_plain(checkpoint)

    def _save_checkpoint_with_step(self, runner: Any, step: int, meta: dict) -> None:
        # Hooks that may stop the run speak here, on every rank, before anything is written.
        runner.call_hook('before_checkpoint')
        self.gradients = gather_gradients(runner)
        outdated = []
        if self.max_keep_ckpts > 0 and (not self.keep_ckpt_ids or self.keep_ckpt_ids[-1] != step):
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                outdated.append(self.keep_ckpt_ids.popleft())
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            name,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        self.gradients = ()
        if not is_main_process():
            return
        # For OpenMMLab's tools; ours look at the files themselves.
        AtomicLocalBackend().put_text(self.last_ckpt, Path(runner.work_dir) / 'last_checkpoint')
        remove_interrupted(self.out_dir, runner.train_loop.iter)
        for old in outdated:
            path = self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(old))
            if path != self.last_ckpt and self.file_backend.isfile(path):
                self.file_backend.remove(path)

    def _save_best_checkpoint(self, runner: Any, metrics: dict) -> None:
        runner.call_hook('before_checkpoint')
        # Upstream removes the previous best first. It is hidden meanwhile and removed after.
        several = not hasattr(self, 'best_ckpt_path')
        if self.save_best and several:
            before = dict(self.best_ckpt_path_dict)
            self.best_ckpt_path_dict = dict.fromkeys(before)
            super()._save_best_checkpoint(runner, metrics)
            for key, old in before.items():
                new = self.best_ckpt_path_dict.get(key)
                self.best_ckpt_path_dict[key] = new or old
                self._remove_replaced(old, new)
        elif self.save_best:
            old, self.best_ckpt_path = self.best_ckpt_path, None
            super()._save_best_checkpoint(runner, metrics)
            new = self.best_ckpt_path
            self.best_ckpt_path = new or old
            self._remove_replaced(old, new)

    def _remove_replaced(self, old: str | None, new: str | None) -> None:
        if not old or not new or old == new or not is_main_process():
            return
        # A run resumed from another's checkpoint knows that one's best: it is not its to delete.
        mine = Path(old).resolve().parent == Path(self.out_dir).resolve()
        if mine and os.path.isfile(old):
            os.remove(old)
