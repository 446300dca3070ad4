"""The page and the picture of the pairing grid, from the cells that were run."""

from __future__ import annotations

import datetime
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..testing.pairings import RULES, Cell, CellResult
from ..testing.pairings.cells import FAILED, REFUSED, TRAINS
from ..visualization import Table

Found = Mapping[Cell, CellResult]

_SIGNS = {'grid': 'g', 'kind': 'k', 'output': 'o', 'boxes': 'b'}
_COLOURS = {
    TRAINS: '#4daf7c',
    FAILED: '#d7301f',
    'kind': '#e6e6e6',
    'output': '#c7b8d8',
    'grid': '#9ecae1',
    'boxes': '#fdd49e',
}
_PLACES = {
    'assigner': 'Assigners',
    'sampler': 'Samplers',
    'loss_cls': 'Losses of the classes',
    'loss_bbox': 'Losses of the boxes',
}

_ASKED = """A cell changes one part of a small detector and trains it on one fixed batch of two
images. It *trains* if

- every image has positives, every loss is finite, and every parameter of the head that the
  recipe trains has a gradient, as has every term of its own;
- every term falls, measured against the targets of the end, within 8 steps, or 40 or 120
  smaller ones, or stays below 1e-4; of a loss that weighs errors by its own state (GHM, Wise-IoU,
  ...) the plain formula may fall instead;
- priors in an ignore region that are in no pair count in no term; a gt of weight 0 is charged
  nowhere, one of weight 3 threefold for its box; class weights raise the term of the classes
  where the loss takes them;
- a batch without gts gives finite losses and a graph through every parameter.

It is *refused* if building it raises a `PairingError` that a rule of the design asks for, naming
the place and a remedy. There is nothing else: any other outcome makes `make grid` fail.
"""


def summary(found: Found) -> str:
    """The count, in one line."""
    states = Counter(result.state for result in found.values())
    rules = Counter(result.rule for result in found.values() if result.state == REFUSED)
    why = ', '.join(f'{count} {rule}' for rule, count in rules.most_common())
    return (
        f'{len(found)} cells: {states[TRAINS]} train, {states[REFUSED]} are refused ({why}), '
        f'{states[FAILED]} fail'
    )


def grid_page(found: Found, page: Path, picture: Path) -> str:
    """The page, in Markdown."""
    heads = list(dict.fromkeys(cell.head for cell in found))
    link = os.path.relpath(picture, page.parent).replace(os.sep, '/')
    counts = ', '.join(
        f'{len({c.part for c in found if c.place == place})} {name}'
        for place, name in (('assigner', 'assigners'), ('sampler', 'samplers'))
    )
    losses = {c.part for c in found if c.place.startswith('loss')}
    served = {c.part for c, r in found.items() if c.place.startswith('loss') and r.state == TRAINS}
    date = datetime.date.today().isoformat()
    by = Counter(result.commit for result in found.values())
    commits = ', '.join(f'{name} ({count} cells)' for name, count in by.most_common())
    lines = [
        '# The pairing grid', '',
        f'Made by `make grid` on {date} from what it ran (commits: {commits}).', '',
        f'**{summary(found)}.**', '',
        f'{len(heads)} heads by {counts} and {len(losses)} losses (a loss with a choice of '
        f'activation counts once for each); {len(served)} losses train in some head.', '',
        _ASKED,
        f'![Heads by parts: what trains and what is refused]({link})', '',
        'In the tables: + trains; '
        + '; '.join(f'{_SIGNS[rule]} refused: {why}' for rule, why in RULES.items())
        + '; ! fails.', '',
    ]  # fmt: skip
    for place, title in _PLACES.items():
        lines += [table(found, place, heads, title).markdown()]
    others = sorted({c.place for c in found} - set(_PLACES))
    if others:
        lines += [other_places(found, others).markdown()]
    return '\n'.join(lines).rstrip() + '\n'


def sign(result: CellResult | None) -> str:
    """One letter a cell."""
    if result is None:
        return ''
    if result.state == REFUSED:
        return _SIGNS[result.rule]
    return '+' if result.state == TRAINS else '!'


def table(found: Found, place: str, heads: Sequence[str], title: str) -> Table:
    """Parts by heads; a loss that serves the place in no head is left out."""
    parts = list(dict.fromkeys(c.part for c in found if c.place == place))
    rows = []
    for part in parts:
        cells = [sign(found.get(Cell(head, place, part))) for head in heads]
        if set(cells) - {'k', ''}:
            rows.append((f'`{part}`', *cells))
    return Table(title, ('', *heads), tuple(rows))


def other_places(found: Found, places: Sequence[str]) -> Table:
    """How many losses train at the further places."""
    rows = []
    for place in places:
        for head in dict.fromkeys(c.head for c in found if c.place == place):
            results = {c.part: r for c, r in found.items() if (c.head, c.place) == (head, place)}
            names = [part for part, result in results.items() if result.state == TRAINS]
            rows.append((f'{head}, `{place}`', str(len(names)), ', '.join(names)))
    return Table('Further losses of a head', ('place', 'train', 'which'), tuple(rows))


def draw_grid(found: Found, path: str | Path) -> Path:
    """Draw every cell into a PNG: assigners and samplers above, losses below.

    Args:
        found: The cells.
        path: PNG to write; its folder is made.
    """
    # Neither pyplot nor a display: a figure of its own, drawn by Agg.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    selections = [c for c in found if not c.place.startswith('loss')]
    losses = [c for c in found if c.place.startswith('loss')]
    panels = [_panel(found, chosen) for chosen in (selections, losses) if chosen]
    heights = [len(rows) for rows, _, _ in panels]
    figure = Figure(figsize=(13, 2.2 + 0.17 * sum(heights)), dpi=110, layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    colours = ListedColormap([*_COLOURS.values()])
    for ax, (rows, columns, values) in zip(axes, panels):
        shown = np.ma.masked_less(values, 0)
        ax.pcolormesh(shown, cmap=colours, vmin=-0.5, vmax=len(_COLOURS) - 0.5, ec='w', lw=0.5)
        ax.set_xticks(np.arange(len(columns)) + 0.5, columns, rotation=60, ha='right', fontsize=7)
        ax.set_yticks(np.arange(len(rows)) + 0.5, rows, fontsize=6.5)
        ax.invert_yaxis()
        ax.tick_params(length=0)
    present = {_state(result) for result in found.values()}
    names = {TRAINS: 'trains', FAILED: 'fails', **{r: f'refused: {w}' for r, w in RULES.items()}}
    patches = [Patch(color=_COLOURS[k], label=names[k]) for k in _COLOURS if k in present]
    figure.legend(handles=patches, loc='outside upper center', ncols=2, fontsize=8, frameon=False)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


def _state(result: CellResult) -> str:
    return result.rule if result.state == REFUSED else result.state


def _panel(found: Found, cells: Sequence[Cell]) -> tuple[list[str], list[str], np.ndarray]:
    """Rows (parts), columns (heads, with the place of a loss), and a colour's index each."""

    def column(cell: Cell) -> str:
        return f'{cell.head} {cell.place}' if cell.place.startswith('loss') else cell.head

    rows = list(dict.fromkeys(cell.part for cell in cells))
    columns = list(dict.fromkeys(column(cell) for cell in cells))
    values = np.full((len(rows), len(columns)), -1)
    order = list(_COLOURS)
    for cell in cells:
        values[rows.index(cell.part), columns.index(column(cell))] = order.index(
            _state(found[cell])
        )
    return rows, columns, values
