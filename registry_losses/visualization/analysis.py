"""Pictures of an analysis: precision over recall, errors by kind, recall by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.metainfo import make_palette


def _figure(width: float, height: float) -> tuple[Any, Any]:
    # Neither pyplot nor a display: a figure of its own, drawn by Agg.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout='constrained')
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _save(figure: Any, path: str | Path) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


def draw_precision_recall(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray, float]], path: str | Path, *, title: str
) -> Path:
    """A line a class: name -> recall, precision and AP.

    Args:
        curves: Up to about 20 lines are legible.
        path: PNG to write.
        title: Above the picture.
    """
    figure, ax = _figure(7.2, 4.6)
    colours = make_palette(max(len(curves), 10))
    for (name, (recall, precision, ap)), colour in zip(curves.items(), colours):
        x = np.concatenate([[0], recall, recall[-1:]])
        y = np.concatenate([precision[:1], precision, [0]]) if len(recall) else np.zeros(1)
        label = f'{name}  AP {ap:.3f}' if np.isfinite(ap) else f'{name}  no objects'
        ax.plot(x, y, label=label, color=np.array(colour) / 255, linewidth=1.6)
    ax.set(xlabel='recall', ylabel='precision', xlim=(0, 1.01), ylim=(0, 1.02))
    ax.grid(alpha=0.3)
    ax.set_title(title, fontsize=10)
    ax.legend(fontsize=8, loc='center left', bbox_to_anchor=(1.01, 0.5), frameon=False)
    return _save(figure, path)


def draw_error_bars(errors: Mapping[str, tuple[int, float]], path: str | Path) -> Path:
    """A bar a kind of error: what AP gains when it is mended, with how many there are."""
    figure, ax = _figure(6.4, 0.5 + 0.45 * len(errors))
    names = list(errors)
    gains = [max(errors[name][1], 0.0) if np.isfinite(errors[name][1]) else 0 for name in names]
    ax.barh(names, gains, color='#4878a8')
    for row, name in enumerate(names):
        ax.text(
            gains[row],
            row,
            f'  {errors[name][1]:+.3f}  ({errors[name][0]})',
            va='center',
            fontsize=8,
        )
    ax.invert_yaxis()
    ax.set_xlim(0, max([*gains, 0.01]) * 1.35)
    ax.set_xlabel('AP50 gained if every error of the kind were mended (how many)', fontsize=8)
    return _save(figure, path)


def draw_recall_groups(
    groups: Sequence[Mapping[str, tuple[int, float]]], path: str | Path, *, title: str
) -> Path:
    """A bar a group of objects: the share that is found; groups of a kind in one colour."""
    rows = [(name, *value, i) for i, group in enumerate(groups) for name, value in group.items()]
    figure, ax = _figure(6.4, 0.7 + 0.36 * max(len(rows), 1))
    colours = ('#4878a8', '#c07840', '#5a9a5a')
    shares = [0 if np.isnan(share) else share for _, _, share, _ in rows]
    names = [name for name, *_ in rows]
    ax.barh(range(len(rows)), shares, color=[colours[i % 3] for *_, i in rows])
    ax.set_yticks(range(len(rows)), names, fontsize=8)
    for row, (_, count, share, _) in enumerate(rows):
        text = f'  {share:.3f} of {count}' if count else '  none'
        ax.text(shares[row], row, text, va='center', fontsize=8)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.25)
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1.0])
    ax.set_title(title, fontsize=9)
    return _save(figure, path)
