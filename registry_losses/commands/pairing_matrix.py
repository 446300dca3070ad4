"""``tools/pairing_matrix.py``: heads, assigners and losses by measured AP."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from .cli import OWN_ASSIGNER as OWN
from .cli import (
    add_cfg_options,
    picture_name,
    positive_int,
    positive_number,
    run_command,
    whole_number,
)


def pairing_matrix_parser() -> argparse.ArgumentParser:
    """The arguments."""
    parser = argparse.ArgumentParser(
        description='Train chosen pairings under equal budgets; write a CSV, a heat map, a page.',
        epilog='A start goes on where the last one was stopped. Several machines, or the tasks of '
        'a Slurm array, share the work by --shard i/n and one --out folder.',
    )
    add = parser.add_argument
    add('--heads', nargs='+', required=True, help='systems (retinanet, fcos, ...) or config files')
    add('--assigners', nargs='+', default=[OWN], help=f'NAME or NAME(key=value); {OWN}: its own')
    add('--losses', nargs='+', default=[OWN], help=f'box losses, likewise; {OWN}: its own')
    add('--seeds', nargs='+', type=whole_number, default=[0])
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument('--steps', type=positive_int, help='of training, for every pairing')
    budget.add_argument(
        '--minutes', type=positive_number, help='of training, by the pace of 40 steps'
    )
    add(
        '--data', metavar='CONFIG', help="data loaders and evaluators to use in place of the heads'"
    )
    add('--num-classes', type=positive_int, help='of that data')
    add('--shard', default='1/1', metavar='i/n', help='the i-th of n shares (from 1)')
    add('--out', default='work_dirs/pairing_matrix', help='folder (default: %(default)s)')
    add('--page', metavar='FILE.md', help='write the table there (default: OUT/matrix.md)')
    add(
        '--picture',
        type=picture_name,
        metavar='FILE.png',
        help='and the heat map (default: OUT/matrix.png)',
    )
    add('--title', default='AP of pairings', help='of page and picture')
    add('--threads', type=positive_int, default=1, help='of each training (default: 1)')
    add('--keep', action='store_true', help='keep the checkpoints')
    add('--report', action='store_true', help='train nothing; write page and picture')
    add_cfg_options(parser, 'train_dataloader.batch_size=4')
    return parser


def pairing_matrix(args: argparse.Namespace) -> None:
    """Train what is missing of the share, then write page and picture of all shares."""
    from .matrix_runs import run_matrix

    run_matrix(args)


def pairing_matrix_main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``tools/pairing_matrix.py``."""
    run_command(pairing_matrix_parser(), pairing_matrix, argv)
