"""``tools/report.py``: one HTML page for a run of training."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from .cli import run_command


def report_parser() -> argparse.ArgumentParser:
    """The arguments of ``tools/report.py``."""
    parser = argparse.ArgumentParser(
        description='Write report.html of a run: figures, curves, AP of the classes, pictures,'
        ' command, versions and config. Each training ends with it; this is for one that was'
        ' stopped, or made by an earlier version.'
    )
    parser.add_argument('work_dir', help='work directory of tools/train.py')
    parser.add_argument('--out', metavar='FILE.html', help='default: WORK_DIR/report.html')
    return parser


def report(args: argparse.Namespace) -> None:
    """Write, and say where."""
    from ..visualization.report import write_report

    print(write_report(args.work_dir, args.out))


def report_main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``tools/report.py``."""
    run_command(report_parser(), report, argv)
