"""``tools/compare_runs.py``: runs of training beside each other."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ..errors import DataError
from .cli import run_command


def compare_runs_parser() -> argparse.ArgumentParser:
    """The arguments."""
    parser = argparse.ArgumentParser(
        description='Compare runs of tools/train.py: a table, best first, and their curves.'
    )
    parser.add_argument('work_dirs', nargs='+', metavar='WORK_DIR')
    parser.add_argument(
        '--metric', help='ranks the runs (default: coco/bbox_mAP, of persons coco/keypoints_mAP)'
    )
    parser.add_argument('--out', metavar='FILE.png', help='draw the curves as well')
    return parser


def compare_runs(args: argparse.Namespace) -> None:
    """Print the table; draw the picture if asked.

    Folders that hold no run, among others that do, are left out with a note.

    Raises:
        DataError: If none holds a run.
    """
    from ..visualization import markdown_table, plot_runs, read_run

    if args.out and not args.out.lower().endswith('.png'):
        raise DataError(f'--out: expected a name that ends in .png, got {args.out!r}')
    runs, problems = [], []
    for folder in args.work_dirs:
        try:
            runs.append(read_run(folder, args.metric))
        except DataError as error:
            problems.append(error)
    if not runs:
        raise problems[0]
    for problem in problems:
        print(f'left out: {problem}', file=sys.stderr)
    print(markdown_table(runs))
    if args.out:
        print(f'Curves: {plot_runs(runs, args.out)}')


def compare_runs_main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``tools/compare_runs.py``."""
    run_command(compare_runs_parser(), compare_runs, argv)
