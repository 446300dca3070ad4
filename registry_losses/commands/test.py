"""``tools/test.py``: evaluate a checkpoint on the test data of a config."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from .cli import add_run_arguments, run_command

if TYPE_CHECKING:
    from mmengine.config import Config


def test_parser() -> argparse.ArgumentParser:
    """The arguments of ``tools/test.py``."""
    parser = argparse.ArgumentParser(description='Evaluate a trained detector.')
    add_run_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', metavar='FILE.pkl', help='write the predictions as plain arrays')
    parser.add_argument('--show-dir', metavar='DIR', help='draw predictions beside ground truth')
    return parser


def test_config(args: argparse.Namespace) -> Config:
    """The config that the arguments describe.

    Raises:
        ConfigError: If the config is wrong, or an option does not fit it.
    """
    from .run_config import run_config

    cfg = run_config(args)
    missing = [k for k in ('test_dataloader', 'test_evaluator') if cfg.get(k) is None]
    if missing:
        raise ConfigError(f'{args.config}: testing needs {" and ".join(missing)}')
    if not Path(args.checkpoint).is_file() and '://' not in args.checkpoint:
        raise ConfigError(f'checkpoint: no such file {args.checkpoint!r}')
    if args.out and not args.out.endswith(('.pkl', '.pickle')):
        raise ConfigError(f'--out: expected a name that ends in .pkl, got {args.out!r}')
    cfg.load_from = args.checkpoint
    cfg.resume = False
    return cfg


def test(args: argparse.Namespace) -> dict[str, Any]:
    """Test as the arguments say; returns the metrics."""
    from mmengine.evaluator import DumpResults

    from ..engine.hooks import DrawPredictionsHook
    from .run_config import build_runner

    runner = build_runner(test_config(args))
    if args.out:
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        runner.test_evaluator.metrics.append(DumpResults(out_file_path=args.out))
    if args.show_dir:
        runner.register_hook(DrawPredictionsHook(out_dir=args.show_dir))
    return runner.test()


def test_main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``tools/test.py``."""
    run_command(test_parser(), test, argv)
