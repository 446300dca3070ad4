"""What stands around the panels of an assignment page: names, captions, the legend.

Images are RGB uint8 ``(H, W, 3)``.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np

from ..structures import Level
from .draw import Colour, write

SOFT: Colour = (255, 150, 20)
IGNORED: Colour = (190, 190, 190)
PAPER = 250
INK: Colour = (40, 40, 40)
GAP = 6
HEADER = 22
MARGIN = 92
# The colours that gts get must be told from SOFT's hue.
_GOLDEN = 0.61803398875


def gt_colours(count: int) -> list[Colour]:
    """Bright colours, neighbours far apart in hue, none near orange."""
    colours = []
    for i in range(count):
        # Hues from 0.16 (yellow) round to 0.98 leave out red-orange to orange.
        hue = 0.16 + 0.82 * ((0.5 + i * _GOLDEN) % 1)
        value = 1.0 if i % 2 == 0 else 0.8
        rgb = colorsys.hsv_to_rgb(hue, 0.85, value)
        colours.append((round(rgb[0] * 255), round(rgb[1] * 255), round(rgb[2] * 255)))
    return colours


def framed(drawn: np.ndarray, caption: str) -> np.ndarray:
    """A panel with room around it, and a line below."""
    panel = np.pad(drawn, ((0, 0), (GAP, GAP), (0, 0)), constant_values=PAPER)
    below = strip(caption, panel.shape[1], HEADER, height=8)
    return np.vstack([panel, below, np.full((GAP, panel.shape[1], 3), PAPER, np.uint8)])


def strip(
    text: str, width: int, full: int, *, height: int = 10, centred: bool = False
) -> np.ndarray:
    """A line of text on paper, ``full`` pixels high, shortened to fit."""
    paper = np.full((full, width, 3), PAPER, np.uint8)
    scale = height / 21.0
    font = cv2.FONT_HERSHEY_SIMPLEX

    def length(value: str) -> int:
        return cv2.getTextSize(value, font, scale, 1)[0][0]

    while len(text) > 4 and length(text) > width - 2 * GAP:
        text = text[:-4] + '...'
    x = (width - length(text)) // 2 if centred else GAP
    origin = (x, (full + height) // 2)
    cv2.putText(paper, text, origin, font, scale, INK, 1, cv2.LINE_AA)
    return paper


def paragraph(text: str, width: int, height: int) -> np.ndarray:
    """Words on paper, for a column that has no panels."""
    letters = max((width - 2 * GAP) // 7, 8)
    lines, line = [], ''
    for word in text.split():
        if line and len(line) + len(word) >= letters:
            lines.append(line)
            line = ''
        line = f'{line} {word}'.strip()
    lines.append(line)
    room = max(height // 18, 1)
    strips = [strip(one, width, 18, height=8) for one in lines[:room]]
    rest = max(height - 18 * len(strips), 0)
    return np.vstack([*strips, np.full((rest, width, 3), PAPER, np.uint8)])[:height]


def row_names(
    grids: Sequence[Level], sizes: Sequence[int], levels: Sequence[int], panel_height: int
) -> np.ndarray:
    """The page's first column: what each row shows.

    Args:
        grids: The levels; empty for priors without a grid.
        sizes: Priors of each level.
        levels: Those that have a row.
        panel_height: Pixels.
    """
    names = [('all levels', '')]
    for level in levels:
        if grids:
            grid = grids[level]
            shape = f'{grid.width} x {grid.height} x {grid.num_base}'
            names.append((f'stride {grid.stride[0]:g}', shape))
        else:
            names.append(('priors', str(sizes[level])))
    parts = [np.full((HEADER, MARGIN, 3), PAPER, np.uint8)]
    for first, second in names:
        cell = np.full((panel_height + HEADER + GAP, MARGIN, 3), PAPER, np.uint8)
        middle = max(panel_height // 2 - 20, 0)
        cell[middle : middle + 20] = strip(first, MARGIN, 20)
        cell[middle + 20 : middle + 40] = strip(second, MARGIN, 20, height=8)
        parts.append(cell)
    return np.vstack(parts)


def legend(width: int, remark: str) -> np.ndarray:
    """What the colours mean, on as many lines as the page's width asks for."""
    entries: list[tuple[Colour, str]] = [
        ((PAPER, PAPER, PAPER), 'outline: gt'),
        (gt_colours(1)[0], 'positive: colour of its gt, bright by quality'),
        (SOFT, 'soft'),
        (IGNORED, 'ignored (hatched)'),
    ]
    entries += [((PAPER, PAPER, PAPER), remark)] if remark else []
    placed, x, line = [], GAP, 0
    for colour, text in entries:
        length = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 9 / 21, 1)[0][0]
        if x > GAP and x + length > width - GAP:
            x, line = GAP, line + 1
        placed.append((colour, text, (x, 4 + 24 * line)))
        x += length + 24
    paper = np.full((28 + 24 * line, width, 3), PAPER, np.uint8)
    for colour, text, corner in placed:
        write(paper, text, corner, colour, 9)
    return paper
