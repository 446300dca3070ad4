"""``tools/train.py``: train what a config describes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError
from .cli import add_run_arguments, run_command

if TYPE_CHECKING:
    from mmengine.config import Config


def train_parser() -> argparse.ArgumentParser:
    """The arguments of ``tools/train.py``."""
    parser = argparse.ArgumentParser(description='Train a detector.')
    add_run_arguments(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='auto|PATH',
        help='go on from the newest whole checkpoint of the work directory, or from PATH',
    )
    parser.add_argument('--amp', action='store_true', help='train in mixed precision')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by the batch size over auto_scale_lr.base_batch_size',
    )
    return parser


def train_config(args: argparse.Namespace) -> Config:
    """The config that the arguments describe.

    Raises:
        ConfigError: If the config is wrong, or an option does not fit it.
    """
    from .run_config import run_config

    cfg = run_config(args)
    if args.amp:
        wrapper = cfg.optim_wrapper
        kind = wrapper.get('type', 'OptimWrapper')
        if kind not in ('OptimWrapper', 'AmpOptimWrapper'):
            raise ConfigError(f'--amp: optim_wrapper.type is {kind}; it must be OptimWrapper')
        wrapper.type = 'AmpOptimWrapper'
    if args.auto_scale_lr:
        if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
            raise ConfigError(
                '--auto-scale-lr: the config says no batch size that its learning rate is for;'
                ' add auto_scale_lr=dict(base_batch_size=...)'
            )
        cfg.auto_scale_lr.enable = True
    if args.resume is not None:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
        if cfg.load_from is not None and not Path(cfg.load_from).is_file():
            raise ConfigError(f'--resume: no such file {args.resume!r}; "auto" finds the newest')
    return cfg


def train(args: argparse.Namespace) -> None:
    """Train as the arguments say."""
    from .run_config import build_runner

    build_runner(train_config(args)).train()


def train_main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``tools/train.py``."""
    run_command(train_parser(), train, argv)
