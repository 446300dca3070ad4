"""What the pairing matrix has found so far: rows of CSV files, a page and a picture of them."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError

TRAINED, REFUSED, FAILED = 'trained', 'refused', 'failed'


@dataclass(frozen=True)
class Result:
    """One row: what was run, where and when, and what came of it."""

    head: str
    assigner: str
    loss: str
    seed: int
    budget: str
    steps: int
    status: str
    AP: float
    AP50: float
    AP75: float
    minutes: float
    commit: str
    date: str
    machine: str
    command: str
    message: str = ''
    options: str = ''

    @property
    def key(self) -> tuple[Any, ...]:
        """What makes two rows the same run."""
        return self.head, self.assigner, self.loss, self.seed, self.budget, self.options


def append(path: Path, result: Result) -> None:
    """Add a row at once, whole, so that a kill loses no more than the run going on."""
    new = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('a', newline='', encoding='utf-8') as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Result)])
        if new:
            writer.writeheader()
        writer.writerow(asdict(result))


def read(paths: Iterable[Path]) -> list[Result]:
    """The rows of several files; of the same run the last, of a torn line nothing.

    Raises:
        DataError: If a file holds another table.
    """
    found: dict[tuple, Result] = {}
    names = {field.name: field.type for field in fields(Result)}
    convert = {'int': int, 'float': float, 'str': str}
    for path in paths:
        with path.open(newline='', encoding='utf-8') as file:
            rows = csv.DictReader(file)
            if rows.fieldnames and set(rows.fieldnames) != set(names):
                raise DataError(f'{path}: expected the columns {", ".join(names)}')
            for row in rows:
                if None in row.values() or None in row:
                    continue
                result = Result(**{k: convert[str(names[k])](v) for k, v in row.items()})
                found[result.key] = result
    return list(found.values())


@dataclass(frozen=True)
class Matrix:
    """Results as a table: heads by what was changed, each cell over its seeds.

    Args:
        rows: Names of heads.
        columns: What was changed.
        cells: ``(row, column)`` to the results of its seeds.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: dict[tuple[str, str], list[Result]]

    @classmethod
    def of(cls, results: Sequence[Result], column_of: Any) -> Matrix:
        """Results in the order in which they came."""
        cells: dict[tuple[str, str], list[Result]] = {}
        for result in results:
            cells.setdefault((Path(result.head).stem, column_of(result)), []).append(result)
        rows = tuple(dict.fromkeys(row for row, _ in cells))
        columns = tuple(dict.fromkeys(column for _, column in cells))
        own = [c for c in columns if c == 'its own']
        return cls(rows, (*own, *(c for c in columns if c not in own)), cells)

    def mean_and_spread(self, row: str, column: str) -> tuple[float, float, int]:
        """AP over the seeds of a cell: mean, half of largest minus smallest, how many."""
        values = [r.AP for r in self.cells.get((row, column), ()) if r.status == TRAINED]
        if not values:
            return math.nan, math.nan, 0
        return float(np.mean(values)), (max(values) - min(values)) / 2, len(values)

    def status(self, row: str, column: str) -> str:
        """``trained``, ``refused``, ``failed``, or '' where nothing was run."""
        states = {result.status for result in self.cells.get((row, column), ())}
        return next((s for s in (TRAINED, REFUSED, FAILED) if s in states), '')


def markdown(matrix: Matrix) -> str:
    """The table, a head a row; ``mean ± half the range`` where there are several seeds."""
    lines = [
        '| head | ' + ' | '.join(matrix.columns) + ' |',
        '|---' * (len(matrix.columns) + 1) + '|',
    ]
    for row in matrix.rows:
        best = np.nanmax([matrix.mean_and_spread(row, c)[0] for c in matrix.columns] + [-1.0])
        cells = []
        for column in matrix.columns:
            mean, spread, seeds = matrix.mean_and_spread(row, column)
            if seeds:
                text = f'{mean:.3f}' + (f' ± {spread:.3f}' if seeds > 1 else '')
                cells.append(f'**{text}**' if mean == best else text)
            else:
                cells.append(matrix.status(row, column))
        lines.append(f'| {row} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def draw(matrix: Matrix, path: str | Path, *, title: str = '') -> Path:
    """Draw a heat map of AP into a PNG; refused cells are hatched, missing ones empty."""
    from ..visualization import draw_heat_map

    shape = (len(matrix.rows), len(matrix.columns))
    values, notes = np.full(shape, np.nan), np.full(shape, '', dtype=object)
    for i, row in enumerate(matrix.rows):
        for j, column in enumerate(matrix.columns):
            mean, spread, seeds = matrix.mean_and_spread(row, column)
            values[i, j] = mean
            notes[i, j] = matrix.status(row, column) if not seeds else f'{mean:.3f}'
            if seeds > 1:
                notes[i, j] += f'\n± {spread:.3f}'
    return draw_heat_map(
        values, path, rows=matrix.rows, columns=matrix.columns, notes=notes, title=title, unit='AP'
    )
