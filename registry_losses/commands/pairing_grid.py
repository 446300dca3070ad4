"""``tools/pairing_grid.py``: every part in every head, trained for a few steps."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from .cli import picture_name, positive_int, run_command, whole_number


def pairing_grid_parser() -> argparse.ArgumentParser:
    """The arguments."""
    parser = argparse.ArgumentParser(
        description='Build and train every registered part in every head on a fixed batch; write '
        'a page and a picture of what trains and what is refused, by which rule.',
        epilog='A start goes on where the last one was stopped, unless the source has changed.',
    )
    add = parser.add_argument
    add('--heads', nargs='+', metavar='HEAD', help='default: all')
    add('--jobs', type=positive_int, default=2, help='processes (default: %(default)s)')
    add('--sample', type=positive_int, metavar='N', help='only N cells, drawn by --seed')
    add('--seed', type=whole_number, default=0)
    add(
        '--out', default='work_dirs/pairing_grid', help='what was run so far (default: %(default)s)'
    )
    add('--fresh', action='store_true', help='forget what was run so far')
    add(
        '--keep-old',
        action='store_true',
        help='keep what an older source ran, unless it failed; the page names the commits',
    )
    add('--page', metavar='FILE.md', help='default: OUT/pairing_grid.md')
    add('--picture', type=picture_name, metavar='FILE.png', help='default: OUT/pairing_grid.png')
    return parser


def pairing_grid(args: argparse.Namespace) -> None:
    """Run what is missing, print the count, write page and picture."""
    from .grid_runs import run_grid

    run_grid(args)


def pairing_grid_main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``tools/pairing_grid.py``."""
    run_command(pairing_grid_parser(), pairing_grid, argv)
