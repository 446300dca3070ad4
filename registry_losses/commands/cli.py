"""What all command lines share. It imports nothing heavy, so that ``--help`` answers at once.

A tool, its module in this folder and its functions bear one name: ``tools/train.py`` runs
``train_main`` of ``commands/train.py``, which reads its arguments with ``train_parser`` and
hands them to ``train``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from ..errors import RegistryLossesError

TRACEBACK = 'REGISTRY_LOSSES_TRACEBACK'
LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')  # as of engine.distributed; a test compares
OWN_ASSIGNER = 'config'  # what visualize_assignments calls the assigner of the config


class _ConfigOption(argparse.Action):
    """:class:`registry_losses.config.ConfigOption`, loaded when it is used."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        from ..config import ConfigOption

        ConfigOption.__call__(self, parser, namespace, values, option_string)  # type: ignore[arg-type]


def add_cfg_options(parser: argparse.ArgumentParser, example: str) -> None:
    """Add ``--cfg-options``; ``example`` is one KEY=VALUE for the help."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=_ConfigOption,
        metavar='KEY=VALUE',
        help=f'override config keys, e.g. {example}',
    )


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what ``train`` and ``test`` share."""
    parser.add_argument('config', help='config file, or registry_losses::NAME for one of ours')
    parser.add_argument('--work-dir', help='where everything goes; default work_dirs/CONFIG')
    add_cfg_options(parser, 'train_cfg.max_epochs=3 "visualizer.vis_backends=[...]"')
    parser.add_argument('--launcher', choices=LAUNCHERS, default='none')
    add_trust(parser)
    # torch.distributed.launch of old passed it; torchrun sets the variable.
    parser.add_argument('--local-rank', '--local_rank', type=int, help=argparse.SUPPRESS)


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add ``--trust-checkpoint``, which :func:`run_command` reads."""
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='read checkpoints that may run code; without it they are refused',
    )


def positive_int(text: str) -> int:
    """An argument that is a whole number of at least 1."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'expected a whole number, got {text!r}') from None
    if value < 1:
        raise argparse.ArgumentTypeError(f'expected at least 1, got {text}')
    return value


def whole_number(text: str) -> int:
    """An argument that is a whole number of at least 0: a seed, for instance."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'expected a whole number, got {text!r}') from None
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f'expected 0 to 2**32 - 1, got {text}')
    return value


def share(text: str) -> float:
    """An argument that is a number from 0 to 1: a threshold."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'expected a number, got {text!r}') from None
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f'expected a number from 0 to 1, got {text}')
    return value


def picture_name(text: str) -> str:
    """An argument that names a picture to write."""
    if not text.lower().endswith(('.png', '.jpg', '.jpeg', '.pdf', '.svg')):
        raise argparse.ArgumentTypeError(
            f'expected a name that ends in .png, .jpg, .pdf or .svg, got {text!r}'
        )
    return text


def positive_number(text: str) -> float:
    """An argument that is a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'expected a number, got {text!r}') from None
    if not 0 < value < float('inf'):
        raise argparse.ArgumentTypeError(f'expected a finite number above 0, got {text}')
    return value


def run_command(
    parser: argparse.ArgumentParser,
    work: Callable[[argparse.Namespace], Any],
    argv: Sequence[str] | None,
) -> None:
    """Parse ``argv`` and run ``work``.

    An error of this package is a message and exit status 1, Ctrl-C is one line and 130;
    neither shows a traceback.
    """
    args = parser.parse_args(argv)
    from .. import load_parts
    from ..plugins import load_plugins

    load_parts()
    load_plugins()  # so that names of installed plugins are known wherever a name may stand
    if getattr(args, 'trust_checkpoint', False):
        from ..engine import trust_checkpoints

        trust_checkpoints()
    try:
        work(args)
    except (RegistryLossesError, OSError) as error:
        # The message says what to do, that of an OSError which file is wrong; where the
        # traceback matters, the variable shows it.
        if os.environ.get(TRACEBACK):
            raise
        told = f'{type(error).__name__}: {error}'
        print(f'{told}\n({TRACEBACK}=1 shows where)', file=sys.stderr)
        _tell_torchrun(told)
        _end(1)
    except KeyboardInterrupt as stop:
        # A training has saved its state, and says where; see engine/stopping.py.
        message = str(stop) if hasattr(stop, 'signal') else 'Interrupted.'
        if message:
            print(message, file=sys.stderr)
        _end(128 + getattr(stop, 'signal', signal.SIGINT))
    except Exception as error:
        if not _in_group():
            raise
        from ..engine.agreement import lost_rank

        lost = None if os.environ.get(TRACEBACK) else lost_rank(error)
        if lost is None:
            traceback.print_exc()
        else:
            print(lost, file=sys.stderr)
        _end(1)
    else:
        _leave_group()


def _tell_torchrun(message: str) -> None:
    """Let torchrun's summary, the last thing on the screen, name the cause."""
    path = os.environ.get('TORCHELASTIC_ERROR_FILE')
    if path:
        with contextlib.suppress(OSError), open(path, 'w', encoding='utf-8') as file:
            json.dump(dict(message=message, timestamp=int(time.time())), file)


def _in_group() -> bool:
    from torch import distributed

    return distributed.is_available() and distributed.is_initialized()


def _leave_group() -> None:
    from torch import distributed

    if _in_group():
        distributed.destroy_process_group()


def _end(code: int) -> NoReturn:
    """Exit; on several ranks at once, for what would wait for the others may wait for ever."""
    if _in_group():
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
