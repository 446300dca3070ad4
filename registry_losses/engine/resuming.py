"""A resumed run follows the config it is started with, where that differs from the checkpoint's.

MMEngine restores the schedule and the optimizer's settings from the checkpoint: a longer
schedule, another rate or decay in the config would be dropped without a word.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.optim import OptimWrapper, OptimWrapperDict, _ParamScheduler

from ..errors import ConfigError
from .checkpoint import plain

# What changes while a schedule runs; `base_values` are the rates, which the groups hold too.
_STATE = frozenset({'last_step', '_global_step', '_last_value', 'verbose', 'base_values'})


@dataclass(frozen=True)
class Settings:
    """What a config says about optimizer and schedule, before a checkpoint is loaded.

    Attributes:
        groups: The parameter groups without their parameters.
        schedulers: What each scheduler was made with.
    """

    groups: list[dict[str, Any]]
    schedulers: list[dict[str, Any]]


def settings_of(optim_wrapper: Any, schedulers: Any) -> Settings | None:
    """The settings as they are now; None where there are several optimizers, or none yet."""
    if not isinstance(optim_wrapper, OptimWrapper) or isinstance(optim_wrapper, OptimWrapperDict):
        return None
    groups = [{k: v for k, v in g.items() if k != 'params'} for g in optim_wrapper.param_groups]
    made = [_made_with(s) for s in schedulers or [] if isinstance(s, _ParamScheduler)]
    return Settings(groups, made)


def _made_with(scheduler: _ParamScheduler | Mapping[str, Any]) -> dict[str, Any]:
    state = scheduler if isinstance(scheduler, Mapping) else scheduler.state_dict()
    return {k: v for k, v in plain(dict(state)).items() if k not in _STATE}


def changed_schedule(settings: Settings, saved: Any) -> list[str]:
    """How a checkpoint's schedule differs from the config's, one word for each difference.

    Args:
        settings: The config's.
        saved: ``param_schedulers`` of the checkpoint.
    """
    if not isinstance(saved, (list, tuple)):
        return []
    if len(saved) != len(settings.schedulers):
        return [f'{len(settings.schedulers)} schedulers in place of {len(saved)}']
    found = []
    for index, (new, old) in enumerate(zip(settings.schedulers, map(_made_with, saved))):
        for key in sorted(new.keys() | old.keys()):
            if new.get(key) != old.get(key):
                name = f'param_scheduler[{index}].{key.lstrip("_")}'
                found.append(f'{name} {old.get(key)} -> {new.get(key)}')
    return found


def restore_settings(optim_wrapper: OptimWrapper, settings: Settings) -> list[str]:
    """Let the config's rates, decays and the like take the place of the checkpoint's.

    A value that a scheduler moves is left at the checkpoint's; its initial value is the
    config's, and the caller runs the schedule once more.

    Returns:
        The settings that differed, one word each, repeated ones once.
    """
    found: dict[str, None] = {}
    if len(optim_wrapper.param_groups) != len(settings.groups):
        raise ConfigError(
            f'the optimizer has {len(settings.groups)} parameter groups and had'
            f' {len(optim_wrapper.param_groups)} in the checkpoint: optim_wrapper.paramwise_cfg has'
            ' changed. Keep it, or start from the weights alone: load_from=PATH without --resume'
        )
    for group, wanted in zip(optim_wrapper.param_groups, settings.groups):
        for key, value in wanted.items():
            scheduled = f'initial_{key}' in wanted
            if scheduled or key not in group or plain(group[key]) == plain(value):
                continue
            found[f'{key.removeprefix("initial_")} {group[key]} -> {value}'] = None
            group[key] = value
    return list(found)


def run_schedule(runner: Any, *, iterations: int, epochs: int) -> None:
    """Bring freshly built schedulers to where a run of so many steps has them.

    Schedulers work step by step from the value before, so this takes every step again: a
    second for some ten thousand.
    """
    length = len(runner.train_dataloader) if runner.train_loop._by_epoch else None
    schedulers = runner.param_schedulers
    by_step = [s for s in schedulers if not s.by_epoch]
    by_epoch = [s for s in schedulers if s.by_epoch]
    done = 0
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of steps without an optimizer's
        for step in range(1, iterations + 1):
            for scheduler in by_step:
                scheduler.step()
            if length and step % length == 0 and done < epochs:
                done += 1
                for scheduler in by_epoch:
                    scheduler.step()


def start_values(optim_wrapper: OptimWrapper) -> None:
    """Put every scheduled value back to where its schedule begins."""
    for group in optim_wrapper.param_groups:
        for key in [k for k in group if k.startswith('initial_')]:
            group[key.removeprefix('initial_')] = group[key]


def follow_config(runner: Any, settings: Settings, checkpoint: Mapping[str, Any]) -> None:
    """Let the config's schedule, rate and the like take the place of the checkpoint's.

    Args:
        runner: A runner that has restored the checkpoint.
        settings: What its config said before.
        checkpoint: The checkpoint.
    """
    wrapper = runner.optim_wrapper
    changes = restore_settings(wrapper, settings)
    schedule = changed_schedule(settings, checkpoint.get('param_schedulers', []))
    rates = any(f'initial_{c.split()[0]}' in settings.groups[0] for c in changes)
    if (schedule or rates) and runner.schedule is not None:
        start_values(wrapper)
        runner.param_schedulers = runner.build_param_scheduler(runner.schedule)
        meta = checkpoint['meta']
        run_schedule(runner, iterations=meta['iter'], epochs=meta['epoch'])
    if changes or schedule:
        rate = wrapper.get_lr()['lr'][0]
        runner.logger.warning(
            'The config differs from the one of the checkpoint, and is followed from here:'
            f' {"; ".join([*changes, *schedule])}. The lr schedule goes on at lr {rate:.4g}.'
        )


def relocate_paths(message_hub: Any, directory: Path) -> None:
    """Let the paths kept from before a move of the work directory point to it."""
    for key, value in message_hub.runtime_info.items():
        if key.startswith('best_ckpt') and isinstance(value, str) and not os.path.isfile(value):
            moved = directory / os.path.basename(value)
            if moved.is_file():
                message_hub.update_info(key, str(moved))


def saved_in(cfg: Mapping[str, Any]) -> Path:
    """The folder of the checkpoints: the work directory, or one of its name in ``out_dir``."""
    work_dir = Path(cfg['work_dir'])
    hooks = cfg.get('default_hooks')
    hook = hooks.get('checkpoint') if isinstance(hooks, Mapping) else None
    out_dir = hook.get('out_dir') if isinstance(hook, Mapping) else None
    return Path(out_dir) / work_dir.absolute().name if out_dir else work_dir
