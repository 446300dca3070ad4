"""A table of numbers as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np


def draw_heat_map(
    values: np.ndarray,
    path: str | Path,
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    notes: np.ndarray | None = None,
    title: str = '',
    unit: str = '',
) -> Path:
    """Draw a heat map into a PNG.

    Args:
        values: ``(R, C)``; a cell that is NaN is grey if it has a note, else empty.
        path: PNG to write; its folder is made.
        rows: R names.
        columns: C names.
        notes: ``(R, C)`` text in each cell.
        title: Above the picture.
        unit: What the numbers are, beside the scale of colours.

    Returns:
        The path.
    """
    # Neither pyplot nor a display: a figure of its own, drawn by Agg.
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    height, width = len(rows), len(columns)
    size = (2.6 + 0.95 * width, 1.9 + 0.55 * height)
    figure = Figure(figsize=size, dpi=110, layout='constrained')
    FigureCanvasAgg(figure)
    ax = figure.subplots()
    low, high = (np.nanmin(values), np.nanmax(values)) if np.isfinite(values).any() else (0, 1)
    colours = colormaps['viridis']
    image = ax.imshow(values, cmap=colours, vmin=low, vmax=high, aspect='auto')
    for (i, j), value in np.ndenumerate(values):
        note = '' if notes is None else str(notes[i, j])
        if np.isnan(value) and note:
            ax.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, fc='0.9', ec='0.7', hatch='//'))
        bright = np.isnan(value) or (value - low) > 0.55 * (high - low)
        ax.text(j, i, note, ha='center', va='center', fontsize=8, color='black' if bright else 'w')
    ax.set_xticks(range(width), columns, rotation=35, ha='right')
    ax.set_yticks(range(height), rows)
    ax.tick_params(length=0)
    if title:
        ax.set_title(title, fontsize=10)
    figure.colorbar(image, ax=ax, label=unit, fraction=0.04)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path
