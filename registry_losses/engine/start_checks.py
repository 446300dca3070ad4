"""What is looked at before the first step: a run that would come to nothing says so at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from pathlib import Path
from typing import Any

from mmengine.dataset import BaseDataset
from mmengine.dist import get_world_size
from mmengine.hooks import CheckpointHook, EarlyStoppingHook
from torch.utils.data import DataLoader

from ..config.schedule import Length, misfits
from ..errors import ConfigError, nearest_names
from .hooks import NonFiniteLossHook, ProgressHook, ReportHook
from .sections import section

_WATCHES = {
    NonFiniteLossHook: "guard=dict(type='NonFiniteLossHook')",
    ProgressHook: "progress=dict(type='ProgressHook')",
    ReportHook: "report=dict(type='ReportHook')",
}


def check_start(runner: Any) -> list[str]:
    """Look at a runner whose training loop is built.

    Returns:
        Warnings, one line each.

    Raises:
        ConfigError: If no step would be taken, or the best checkpoint be chosen by a figure
            that no validation yields.
    """
    loop = runner.train_loop
    check_batches('train_dataloader', loop.dataloader, endless=_never_ends(loop))
    with section('param_scheduler'):
        notes = schedule_notes(runner)
    if runner._val_loop is not None:
        check_files('val_evaluator', runner.val_loop)
    hooks = [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]
    with section('default_hooks.checkpoint'):
        for hook in hooks:
            check_best(hook, runner)
        notes += _checkpoint_notes(hooks, loop)
    for stopper in (hook for hook in runner.hooks if isinstance(hook, EarlyStoppingHook)):
        check_figures('EarlyStoppingHook.monitor', [stopper.monitor], runner)
    notes += _idle_keys(runner)
    missing = [k for k in _WATCHES if not any(isinstance(h, k) for h in runner.hooks)]
    if missing:
        notes.append(
            f'This run goes without {", ".join(k.__name__ for k in missing)}. To have'
            f' {"it" if len(missing) == 1 else "them"}: default_hooks=dict('
            + ', '.join(_WATCHES[k] for k in missing)
            + ')'
        )
    return notes


def _idle_keys(runner: Any) -> list[str]:
    """Keys of ``paramwise_cfg.custom_keys`` that are part of no parameter's name."""
    wrapper = runner.cfg.get('optim_wrapper')
    paramwise = wrapper.get('paramwise_cfg') if isinstance(wrapper, Mapping) else None
    keys = (paramwise or {}).get('custom_keys') or ()
    names = [name for name, _ in runner.model.named_parameters()]
    idle = [key for key in keys if not any(key in name for name in names)]
    parts = list(dict.fromkeys(part for name in names for part in name.split('.')))
    return [
        f"optim_wrapper.paramwise_cfg.custom_keys: {key!r} is part of no parameter's name, so it"
        f' changes nothing; nearest: {", ".join(nearest_names(key, parts)) or "none"}'
        for key in idle
    ]


def _never_ends(loop: Any) -> bool:
    return not loop._by_epoch and loop._is_endless() if hasattr(loop, '_is_endless') else False


def check_batches(name: str, loader: DataLoader, *, endless: bool = False) -> None:
    """Refuse a data loader that yields no batch.

    Raises:
        ConfigError: With the number of samples, the batch size and what to change.
    """
    pipeline = getattr(getattr(loader.dataset, 'pipeline', None), 'transforms', None)
    if pipeline == [] and isinstance(loader.dataset, BaseDataset):
        raise ConfigError(
            f'{name}.dataset.pipeline is empty: load images and boxes, and end with PackDetInputs'
        )
    last = type(pipeline[-1]) if pipeline else None
    # Transforms of others may pack under any name.
    known = last is not None and last.__module__.split('.')[0] in ('registry_losses', 'mmcv')
    if last is not None and known and not last.__name__.startswith('Pack'):
        raise ConfigError(
            f'{name}.dataset.pipeline ends with {last.__name__}, so that samples hold no inputs '
            "for the model: add dict(type='PackDetInputs') at its end"
        )
    if endless or len(loader) > 0:
        return
    count = len(loader.dataset) if isinstance(loader.dataset, Sized) else 0
    size = loader.batch_size or getattr(loader.batch_sampler, 'batch_size', 1)
    if count == 0:
        raise ConfigError(f'{name}: the data set is empty, after its filter_cfg')
    ranks = get_world_size()
    told = f' on each of {ranks} processes' if ranks > 1 else ''
    raise ConfigError(
        f'{name}: no batch in an epoch: {count} images, batch_size={size}{told} and drop_last='
        'True leave nothing. Lower batch_size, or set drop_last=False'
    )


def check_files(name: str, loop: Any) -> None:
    """Refuse metrics whose annotation file is not there: they would say so after an epoch.

    Raises:
        ConfigError: Naming the evaluator and the file.
    """
    for metric in getattr(getattr(loop, 'evaluator', None), 'metrics', ()):
        path = getattr(metric, 'ann_file', None)
        if isinstance(path, str) and '://' not in path and not Path(path).is_file():
            raise ConfigError(f'{name}: ann_file: no such file {path!r}')


def length_of(loop: Any) -> Length | None:
    """The length of a built training loop; None for a loop of somebody else's."""
    if not hasattr(loop, '_by_epoch'):
        return None
    if loop._by_epoch:
        return Length(loop.max_epochs, True, len(loop.dataloader))
    return Length(loop.max_iters, False)


def schedule_notes(runner: Any) -> list[str]:
    """What of the schedule does not fit the length; see :func:`misfits`."""
    length = length_of(runner.train_loop)
    nodes = runner.resolved(runner.param_schedulers)
    return misfits(nodes, length) if length else []


def check_best(hook: CheckpointHook, runner: Any) -> None:
    """Refuse a ``save_best`` that no validation yields.

    A metric tells its figures by ``result_names()``; one that does not is known by the
    first part of their names.

    Raises:
        ConfigError: With the names there are.
    """
    given = [hook.save_best] if isinstance(hook.save_best, str) else hook.save_best or []
    wanted = [name for name in given if name != 'auto']
    check_figures('default_hooks.checkpoint.save_best', wanted, runner)


def check_figures(key: str, wanted: Sequence[str], runner: Any) -> None:
    """Refuse figures that no validation yields; see :func:`check_best`."""
    if not wanted:
        return
    if runner._val_loop is None:
        raise ConfigError(
            f'{key}={wanted[0]!r}: this run never validates; add val_dataloader, val_cfg and'
            f' val_evaluator, or leave {key.rpartition(".")[2]} out'
        )
    metrics = runner.val_loop.evaluator.metrics
    known: list[str] = []
    open_prefixes: list[str] = []
    for metric in metrics:
        prefix = f'{metric.prefix}/' if getattr(metric, 'prefix', None) else ''
        names = metric.result_names() if hasattr(metric, 'result_names') else None
        if names is None:
            open_prefixes.append(prefix)
        else:
            known += [prefix + name for name in names]
    for name in wanted:
        if name in known or any(name.startswith(prefix) for prefix in open_prefixes):
            continue
        there = known + [f'{prefix}...' for prefix in open_prefixes]
        raise ConfigError(f'{key}={name!r}: no validation yields it; there are ' + ', '.join(there))


def _checkpoint_notes(hooks: list[CheckpointHook], loop: Any) -> list[str]:
    if not hooks:
        return ['No CheckpointHook: this run saves nothing']
    notes = []
    by_epoch_loop = getattr(loop, '_by_epoch', True)
    for hook in hooks:
        length = loop.max_epochs if hook.by_epoch else loop.max_iters
        never = hook.interval <= 0 or hook.interval > length - hook.save_begin
        if never and not hook.save_last:
            best = ', but the best' if hook.save_best else ''
            notes.append(
                f'This run ends without writing a checkpoint{best}: CheckpointHook has interval='
                f'{hook.interval} and save_last=False, and the training'
                f' {length} {"epochs" if hook.by_epoch else "iterations"}'
            )
        elif hook.by_epoch and not by_epoch_loop:
            notes.append(
                'CheckpointHook counts epochs, and this training counts iterations: it saves at'
                ' the end alone. Leave by_epoch out, and interval, to save on the way'
            )
    return notes
