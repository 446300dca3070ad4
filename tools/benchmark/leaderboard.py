"""The picture of the leaderboard: AP against the time of a training step.

``python tools/benchmark/leaderboard.py [RESULTS.csv] [--out FILE.png]``
"""

import argparse
import csv
import sys
from pathlib import Path

# A checkout works without being installed; an installed package comes first.
sys.path.append(str(Path(__file__).resolve().parents[2]))

from registry_losses.commands.cli import run_command

DOCS = Path(__file__).resolve().parents[2] / 'docs'


def parser_of_leaderboard() -> argparse.ArgumentParser:
    """The arguments."""
    parser = argparse.ArgumentParser(description='AP against the time of a training step.')
    parser.add_argument('results', nargs='?', default=str(DOCS / 'results/leaderboard.csv'))
    parser.add_argument('--out', default=str(DOCS / 'images/leaderboard.png'))
    return parser


def draw_leaderboard(args: argparse.Namespace) -> None:
    """Draw a system at its time a step (right: slow) and its AP (up: good)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = list(csv.DictReader(Path(args.results).read_text().splitlines()))
    figure = Figure(figsize=(12, 5.5), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    best = max(rows, key=lambda row: float(row['AP']))
    slowest = max(float(row['step_ms']) for row in rows)
    for row in rows:
        x, y = float(row['step_ms']), float(row['AP'])
        colour = 'tab:red' if row is best else 'tab:blue'
        axes.plot(x, y, 'o', color=colour)
        # The name stands on the left of a point that has another close on its right.
        close = any(
            0 < float(other['step_ms']) - x < 35 and abs(float(other['AP']) - y) < 0.015
            for other in rows
        )
        left = close or x == slowest
        axes.annotate(
            row['system'],
            (x, y),
            xytext=(-7, 0) if left else (7, 0),
            textcoords='offset points',
            ha='right' if left else 'left',
            va='center',
            fontsize=9,
            color=colour,
        )
    axes.set_xlabel('milliseconds a training step (batch 8, 2 threads)')
    axes.set_ylabel('COCO AP, validation digits')
    axes.grid(alpha=0.3)
    figure.savefig(args.out, dpi=110)
    print(f'{len(rows)} systems in {args.out}')


if __name__ == '__main__':
    run_command(parser_of_leaderboard(), draw_leaderboard, None)
