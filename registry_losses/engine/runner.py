"""MMEngine's runner with the few parts replaced that do not serve here.

Each override says which upstream behaviour it stands for.
"""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import broadcast_object_list, is_distributed
from mmengine.logging import MMLogger
from mmengine.model import is_model_wrapper
from mmengine.runner import BaseLoop
from mmengine.runner import Runner as _Runner
from torch import nn

from ..config.schedule import resolve_shares, schedulers
from ..errors import CheckpointError
from ..registry import LOOPS, RUNNERS
from . import sharding
from .agreement import check_ranks_agree, training_settings
from .checkpoint import ATOMIC_BACKEND, find_resumable
from .distributed import init_distributed
from .gradients import restore_gradients
from .hooks import CheckClassesHook, StopValidationHook
from .layout import asks_for_channels_last, channels_first, lay_out
from .log_processor import for_the_console
from .optim import shared_once
from .parallel import wrap_on_cpu
from .resuming import follow_config, relocate_paths, saved_in, settings_of
from .safe_loading import fetch_checkpoint, load_checkpoint_file
from .sections import check_whole, name_sections, section
from .start_checks import check_batches, check_start, length_of
from .threads import choose_threads, use_threads
from .weights import load_what_fits, match_weights, require_all

# The default hooks that MMEngine would put back, were they left out.
_MMENGINE_HOOKS = (
    'runtime_info',
    'timer',
    'sampler_seed',
    'logger',
    'param_scheduler',
    'checkpoint',
)


@RUNNERS.register_module()
@name_sections
class Runner(_Runner):
    """Trains, validates and tests what a config describes.

    Use it as MMEngine's: ``Runner.from_cfg(cfg).train()``. What differs: checkpoints are whole or
    absent and hold plain data, a resumed run equals the uninterrupted one, CPUs train together.
    """

    _checkpoint: dict[str, Any] | None = None
    schedule: Any = None  # the scheduler nodes, shares resolved
    _needs_all = False  # whether a checkpoint has to fit tensor for tensor

    @classmethod
    def from_cfg(cls, cfg: Any) -> Runner:
        """Build a runner from a config."""
        cfg = copy.deepcopy(cfg)
        check_whole(cfg)
        cfg['randomness'] = cfg.get('randomness') or {}
        randomness = cfg['randomness']
        if cfg.get('resume') and randomness.get('seed') is None:
            # MMEngine takes over the seed of a resumed run only after the sampler was built.
            path = cfg.get('load_from') or find_resumable(saved_in(cfg))
            if path:
                meta = load_checkpoint_file(path, mmap=True).get('meta', {})
                randomness['seed'] = meta.get('seed')
        return super().from_cfg(cfg)

    def setup_env(self, env_cfg: dict) -> None:
        """Choose the threads, and join the process group: MMEngine's start-up needs CUDA."""
        self.threads = choose_threads()
        use_threads(self.threads)
        if self.distributed and not is_distributed():
            init_distributed(self.launcher, **env_cfg.get('dist_cfg', {}))
        super().setup_env(env_cfg)

    def register_hooks(
        self, default_hooks: dict | None = None, custom_hooks: list | None = None
    ) -> None:
        """Register the config's hooks, and the check that model and data agree.

        A hook of the custom list replaces the default one of its kind; None leaves one out.
        """
        kinds = {str(hook.get('type')) for hook in custom_hooks or [] if isinstance(hook, dict)}
        default_hooks = {
            name: hook
            for name, hook in (default_hooks or {}).items()
            if name in _MMENGINE_HOOKS
            or (hook is not None and (not isinstance(hook, dict) or hook['type'] not in kinds))
        }
        super().register_hooks(default_hooks, custom_hooks)
        self.register_hook(CheckClassesHook())
        self.register_hook(StopValidationHook())

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Call the hooks; one that cannot begin with its settings is named."""
        if fn_name not in ('before_run', 'before_train'):
            super().call_hook(fn_name, **kwargs)
            return
        for hook in self.hooks:
            with section(type(hook).__name__):
                getattr(hook, fn_name)(self, **kwargs)

    def build_logger(
        self, log_level: int | str = 'INFO', log_file: str | None = None, **options: Any
    ) -> MMLogger:
        """Write everything to the file, and to the console what a user watches."""
        logger = super().build_logger(log_level, log_file, **options)
        for handler in (h for h in logger.handlers if not isinstance(h, logging.FileHandler)):
            handler.addFilter(for_the_console)
        return logger

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Wrap for distributed training, on the CPU too, or share the weights out.

        Stands for MMEngine passing ``device_ids`` to DistributedDataParallel and
        converting batch norm to PyTorch's SyncBatchNorm, both of which refuse a CPU.
        """
        shards = sharding.asks_for_sharding(model_wrapper_cfg)
        if asks_for_channels_last(self.cfg) and not (shards and self.distributed):
            lay_out(model)
        if self.distributed and not is_model_wrapper(model):
            if shards:
                sharding.prepare_to_shard(model, self.cfg, trains=self._train_loop is not None)
            if not torch.cuda.is_available():
                return wrap_on_cpu(model, model_wrapper_cfg, self.cfg)
        return super().wrap_model(model_wrapper_cfg, model)

    def _init_model_weights(self) -> None:
        if not sharding.is_sharded(self.model):
            with channels_first(self.model):
                super()._init_model_weights()

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        """Build the optimizer; one of a sharded model reads whole checkpoints."""
        built = super().build_optim_wrapper(shared_once(optim_wrapper))
        if sharding.is_sharded(self.model):
            sharding.share_out_optimizer(built)
        return built

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build the training loop; ``by_epoch`` chooses between our two."""
        if isinstance(loop, dict) and 'type' not in loop:
            loop = copy.deepcopy(loop)
            kind = 'EpochBasedTrainLoop' if loop.pop('by_epoch') else 'IterBasedTrainLoop'
            return LOOPS.build(
                dict(type=f'registry_losses.{kind}', **loop),
                default_args=dict(runner=self, dataloader=self._train_dataloader),
            )
        return super().build_train_loop(loop)

    def build_param_scheduler(self, scheduler: Any) -> Any:
        """Build schedulers; shares of the training's length become whole numbers."""
        nodes = self.resolved(scheduler)
        if any(True for _ in schedulers(nodes)):
            self.schedule = nodes  # kept: built schedulers cannot begin once more
        return super().build_param_scheduler(nodes)

    def resolved(self, scheduler: Any) -> Any:
        """A copy of a ``param_scheduler`` without shares; schedulers that are built stay."""
        length = length_of(self.train_loop)
        nodes = list(schedulers(scheduler))
        if length is None or not nodes:
            return scheduler
        copied = copy.deepcopy(scheduler)
        for node in schedulers(copied):
            resolve_shares(node, length)
        return copied

    def train(self) -> nn.Module:
        """Train, once it is sure that the run can come to something."""
        if getattr(self, '_train_loop', None) is not None:
            self.train_loop  # noqa: B018  (builds it)
            self.logger.info(f'Computing with {self.threads}')
            check_ranks_agree(training_settings(self))
            for note in check_start(self):
                self.logger.warning(note)
        return super().train()

    def build_val_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build the validation loop, once it is sure that it has something to validate."""
        built = super().build_val_loop(loop)
        check_batches('val_dataloader', built.dataloader)
        return built

    def build_test_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build the test loop; see :meth:`build_val_loop`."""
        built = super().build_test_loop(loop)
        check_batches('test_dataloader', built.dataloader)
        return built

    def load_or_resume(self) -> None:
        """Load or resume what the config asks for.

        Stands for MMEngine following the absolute path in ``last_checkpoint``. Rank 0
        looks, so that all ranks take the same file.
        """
        if self._has_loaded or not self._resume or self._load_from is not None:
            super().load_or_resume()
            return
        folder = saved_in(dict(work_dir=self.work_dir, default_hooks=self.cfg.get('default_hooks')))
        found = [find_resumable(folder) if self.rank == 0 else None]
        broadcast_object_list(found)
        if found[0] is None:
            self.logger.info(f'No checkpoint to resume in {folder}: starting afresh.')
            return
        self.resume(str(found[0]))

    def load_checkpoint(
        self,
        filename: str,
        map_location: str | Callable = 'cpu',
        strict: bool = False,
        revise_keys: list[tuple[str, str]] = [(r'^module.', '')],  # noqa: B006
    ) -> dict[str, Any]:
        """Load weights, running no code from the file.

        To test, to validate or to resume, all tensors have to fit; to begin a training
        (``load_from``), those that do are taken, and the log says what became of the others.

        Raises:
            CheckpointError: If the file cannot be read, is of another model, or holds NaN.
        """
        path = fetch_checkpoint(filename)
        checkpoint = load_checkpoint_file(path, map_location=map_location)
        if 'state_dict' not in checkpoint:
            checkpoint = dict(state_dict=checkpoint)
        state = checkpoint['state_dict']
        for pattern, replacement in revise_keys:
            state = {re.sub(pattern, replacement, name): value for name, value in state.items()}
        checkpoint['state_dict'] = state
        self._checkpoint = checkpoint
        model = self.model.module if is_model_wrapper(self.model) else self.model
        if not (strict or self._needs_all):
            fitting = match_weights(model, state).fitting
            checkpoint['state_dict'] = {n: v for n, v in state.items() if n in fitting} or state
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        if strict or self._needs_all:
            require_all(model, checkpoint['state_dict'], filename)
        else:
            load_what_fits(model, state, f'load_from {filename}')
        self._has_loaded = True
        self.logger.info(f'Loaded the checkpoint {filename}')
        return checkpoint

    def test(self) -> dict:
        """Test; a checkpoint has to fit the model tensor for tensor."""
        self._needs_all = True
        return super().test()

    def val(self) -> dict:
        """Validate; a checkpoint has to fit the model tensor for tensor."""
        self._needs_all = True
        return super().val()

    def resume(
        self,
        filename: str,
        resume_optimizer: bool = True,
        resume_param_scheduler: bool = True,
        map_location: str | Callable = 'default',
    ) -> None:
        """Restore everything that decides how training goes on.

        MMEngine restores weights, averaged weights, optimizer and schedulers; added here
        are the position in the data and gradients that were being accumulated. The
        random generators need no state: they are keyed by (seed, step).
        """
        settings = settings_of(self.optim_wrapper, self.param_schedulers)
        self._needs_all = True
        super().resume(filename, resume_optimizer, resume_param_scheduler, map_location)
        checkpoint, self._checkpoint = self._checkpoint, None
        if checkpoint is None:
            return
        if settings is not None and 'optimizer' in checkpoint and resume_optimizer:
            follow_config(self, settings, checkpoint)
        if 'optimizer' not in checkpoint and resume_optimizer:
            raise CheckpointError(
                f'{filename} holds weights but no training state, so training cannot go on from'
                ' it. To start from these weights: --cfg-options load_from=PATH without --resume.'
            )
        threads = checkpoint['meta'].get('threads')
        if threads and self.threads.reason != 'OMP_NUM_THREADS' and threads != self.threads.count:
            # Sums over other threads are other sums, in their last digits.
            self.logger.info(f'Going on with {threads} threads, as in the checkpoint.')
            torch.set_num_threads(threads)
        if hasattr(self.train_loop, 'restore_position'):
            self.train_loop.restore_position(checkpoint['meta'].get('position'))
        restore_gradients(self.model, checkpoint.get('gradients'))
        relocate_paths(self.message_hub, Path(filename).resolve().parent)

    def save_checkpoint(
        self,
        out_dir: str,
        filename: str,
        file_client_args: dict | None = None,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        meta: dict | None = None,
        by_epoch: bool = True,
        backend_args: dict | None = None,
    ) -> None:
        """Save a checkpoint, atomically unless another storage is asked for."""
        meta = dict(meta or {})
        meta.setdefault('epoch', self.epoch + (1 if by_epoch else 0))
        meta.setdefault('iter', self.iter + (0 if by_epoch else 1))
        meta.setdefault('threads', torch.get_num_threads())
        if hasattr(self.train_loop, 'position'):
            meta['position'] = self.train_loop.position(epoch=meta['epoch'], iteration=meta['iter'])
        if backend_args is None and file_client_args is None and '://' not in str(out_dir):
            backend_args = dict(backend=ATOMIC_BACKEND)
        schedulers = save_param_scheduler and self.param_schedulers is not None
        place = (out_dir, filename, file_client_args)
        with sharding.whole_states(self.model, self.optim_wrapper if save_optimizer else None):
            super().save_checkpoint(
                *place, save_optimizer, schedulers, meta, by_epoch, backend_args
            )
