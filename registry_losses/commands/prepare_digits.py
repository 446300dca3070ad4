"""``tools/prepare_digits.py``: the digits data set, drawn once."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from .cli import positive_int, run_command, whole_number


def prepare_digits_parser() -> argparse.ArgumentParser:
    """The arguments of ``tools/prepare_digits.py``."""
    parser = argparse.ArgumentParser(
        description='Draw the digits data set, unless it is there already.'
    )
    parser.add_argument('--data-root', default='data/digits', help='folder to write')
    parser.add_argument('--seed', type=whole_number, help="default: the configs' own")
    parser.add_argument('--num-train', type=positive_int, help="images; default: the configs' own")
    parser.add_argument('--num-val', type=positive_int, help="images; default: the configs' own")
    return parser


def prepare_digits(args: argparse.Namespace) -> None:
    """Draw the images unless they are there already."""
    from ..datasets import DigitsSpec
    from ..datasets import prepare_digits as draw

    given = dict(seed=args.seed, num_train=args.num_train, num_val=args.num_val)
    spec = DigitsSpec(**{k: v for k, v in given.items() if v is not None})
    drawn = draw(args.data_root, spec)
    print(f'{Path(args.data_root).absolute()}: {"drawn" if drawn else "already there"}')


def prepare_digits_main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``tools/prepare_digits.py``."""
    run_command(prepare_digits_parser(), prepare_digits, argv)
