"""The command lines of ``tools/train.py`` and ``tools/test.py``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.evaluator import DumpResults
from rich.console import Console

from ..config import ConfigOption, load_config
from ..engine.distributed import LAUNCHERS
from ..engine.hooks import DrawPredictionsHook
from ..engine.runner import Runner
from ..errors import ConfigError, RegistryLossesError
from ..registry import RUNNERS

TRACEBACK = 'REGISTRY_LOSSES_TRACEBACK'


def train_parser() -> argparse.ArgumentParser:
    """The arguments of ``tools/train.py``."""
    parser = argparse.ArgumentParser(description='Train a detector.')
    _add_common(parser)
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


def test_parser() -> argparse.ArgumentParser:
    """The arguments of ``tools/test.py``."""
    parser = argparse.ArgumentParser(description='Evaluate a trained detector.')
    _add_common(parser)
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', metavar='FILE.pkl', help='write the predictions as plain arrays')
    parser.add_argument('--show-dir', metavar='DIR', help='draw predictions beside ground truth')
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', help='config file, or registry_losses::NAME for one of ours')
    parser.add_argument('--work-dir', help='where everything goes; default work_dirs/CONFIG')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=ConfigOption,
        metavar='KEY=VALUE',
        help='override config keys, e.g. train_cfg.max_epochs=3 "visualizer.vis_backends=[...]"',
    )
    parser.add_argument('--launcher', choices=LAUNCHERS, default='none')
    # torch.distributed.launch of old passed it; torchrun sets the variable.
    parser.add_argument('--local-rank', '--local_rank', type=int, help=argparse.SUPPRESS)


def train_config(args: argparse.Namespace) -> Config:
    """The config that the arguments describe.

    Raises:
        ConfigError: If the config is wrong, or an option does not fit it.
    """
    cfg = _config(args)
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


def test_config(args: argparse.Namespace) -> Config:
    """The config that the arguments describe; see :func:`train_config`."""
    cfg = _config(args)
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


def _config(args: argparse.Namespace) -> Config:
    cfg = load_config(args.config, options=args.cfg_options)
    cfg.launcher = args.launcher
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(cfg.filename or 'config').stem)
    return cfg


def build_runner(cfg: Config) -> Runner:
    """The runner of a config: ours unless the config names another by ``runner_type``."""
    if cfg.get('runner_type'):
        return RUNNERS.build(cfg)
    return Runner.from_cfg(cfg)


def train(args: argparse.Namespace) -> None:
    """Train as the arguments say."""
    build_runner(train_config(args)).train()


def test(args: argparse.Namespace) -> dict[str, Any]:
    """Test as the arguments say; returns the metrics."""
    runner = build_runner(test_config(args))
    if args.out:
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        runner.test_evaluator.metrics.append(DumpResults(out_file_path=args.out))
    if args.show_dir:
        runner.register_hook(DrawPredictionsHook(out_dir=args.show_dir))
    return runner.test()


def positive_int(text: str) -> int:
    """An argument that is a whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f'expected at least 1, got {text}')
    return value


def table_console() -> Console:
    """Where tables go: in a pipe or a file they are not squeezed into 80 columns."""
    squeezed = not sys.stdout.isatty() and 'COLUMNS' not in os.environ
    return Console(width=200) if squeezed else Console()


def run_command(
    parser: argparse.ArgumentParser,
    work: Callable[[argparse.Namespace], Any],
    argv: Sequence[str] | None,
) -> None:
    """Parse ``argv`` and run ``work``; an error of this package is a message, not a traceback."""
    args = parser.parse_args(argv)
    try:
        work(args)
    except RegistryLossesError as error:
        # The message says what to do; where the traceback matters, the variable shows it.
        if os.environ.get(TRACEBACK):
            raise
        print(f'{type(error).__name__}: {error}\n({TRACEBACK}=1 shows where)', file=sys.stderr)
        sys.stderr.flush()
        sys.exit(1)
    finally:
        _leave_group()


def _leave_group() -> None:
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def train_main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``tools/train.py``."""
    run_command(train_parser(), train, argv)


def test_main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``tools/test.py``."""
    run_command(test_parser(), test, argv)
