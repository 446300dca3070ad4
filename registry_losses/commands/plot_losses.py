"""``tools/plot_losses.py``: losses and their gradients as curves."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from .cli import positive_number, run_command


def plot_losses_parser() -> argparse.ArgumentParser:
    """The arguments of ``tools/plot_losses.py``."""
    parser = argparse.ArgumentParser(
        description='Draw losses and their gradients against p_t, the error or the shift.'
    )
    parser.add_argument('losses', nargs='+', metavar='NAME[:OPTION=VALUE,...]')
    parser.add_argument('--out', default='losses.png', metavar='FILE.png')
    parser.add_argument('--title', default='')
    parser.add_argument('--max-loss', type=positive_number, default=None)
    return parser


def plot_losses(args: argparse.Namespace) -> None:
    """Draw as the arguments say, and print where to."""
    from ..visualization.loss_curves import plot_losses as draw

    print(draw(args.losses, args.out, title=args.title, max_loss=args.max_loss))


def plot_losses_main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``tools/plot_losses.py``."""
    run_command(plot_losses_parser(), plot_losses, argv)
