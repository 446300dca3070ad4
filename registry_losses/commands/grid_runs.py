"""Running the cells of the pairing grid, some at a time, and keeping what came of them."""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import multiprocessing
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

from .. import load_parts
from ..config import configs_folder
from ..errors import ConfigError, RegistryLossesError
from ..testing.pairings import HEADS, Cell, CellResult, all_cells, run_cell
from ..testing.pairings.cells import FAILED
from .grid_page import draw_grid, grid_page, summary
from .matrix_runs import commit

_PACKAGE = Path(__file__).resolve().parents[1]


def run_grid(args: argparse.Namespace) -> None:
    """Run what is missing, print the count, write page and picture.

    Raises:
        ConfigError: For an unknown head.
        RegistryLossesError: If a cell neither trains nor is refused by a rule.
    """
    heads = tuple(args.heads or HEADS)
    unknown = sorted(set(heads) - set(HEADS))
    if unknown:
        raise ConfigError(f'--heads: no {", ".join(unknown)}; there are {", ".join(HEADS)}')
    logging.disable(logging.INFO)  # a line a parameter and model
    out = Path(args.out)
    log, digest = out / 'cells.jsonl', source_digest()
    cells = list(all_cells(heads))
    if args.sample:
        cells = random.Random(args.seed).sample(cells, min(args.sample, len(cells)))
    done = {} if args.fresh else read_cells(log, None if args.keep_old else digest)
    if not done:
        log.unlink(missing_ok=True)
    missing = [cell for cell in cells if cell not in done]
    print(f'{len(cells)} cells, {len(cells) - len(missing)} of them run before', flush=True)
    out.mkdir(parents=True, exist_ok=True)
    with log.open('a', encoding='utf-8') as file:
        source = commit()
        for cell, result in run_cells(missing, args.jobs):
            result = replace(result, commit=source)
            done[cell] = result
            file.write(json.dumps([digest, *cell, asdict(result)]) + '\n')
            file.flush()
            if result.state == FAILED:
                print(f'{" ".join(cell)}: {result.message}', flush=True)
    found = {cell: done[cell] for cell in cells}
    print(summary(found))
    picture = draw_grid(found, args.picture or out / 'pairing_grid.png')
    page = Path(args.page or out / 'pairing_grid.md')
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(grid_page(found, page, picture), encoding='utf-8')
    failed = [' '.join(cell) for cell, result in found.items() if result.state == FAILED]
    if failed:
        raise RegistryLossesError(f'{len(failed)} cells neither train nor are refused: {failed}')


def run_cells(cells: Sequence[Cell], jobs: int) -> Iterator[tuple[Cell, CellResult]]:
    """Run cells in processes of one thread each, as they come."""
    if jobs == 1 or len(cells) < 2:
        for cell in cells:
            yield _one(cell)
        return
    # Forked workers would inherit the threads of torch in an unknown state.
    context = multiprocessing.get_context('spawn')
    with context.Pool(jobs, initializer=_start_worker) as pool:
        yield from pool.imap_unordered(_one, cells, chunksize=4)


def _start_worker() -> None:
    logging.disable(logging.INFO)
    load_parts()
    torch.set_num_threads(1)


def _one(cell: Cell) -> tuple[Cell, CellResult]:
    cell = Cell(*cell)
    try:
        return cell, run_cell(cell)
    except Exception as error:
        # Whatever else a pairing raises is what the grid looks for.
        return cell, CellResult(FAILED, message=f'{type(error).__name__}: {error}')


def source_digest() -> str:
    """What the results depend on: the source of the package and its small models."""
    models = configs_folder() / '_base_' / 'models'
    files = [*_PACKAGE.rglob('*.py'), *_PACKAGE.rglob('*.c'), *models.glob('*_tiny.py')]
    return hashlib.sha256(b''.join(path.read_bytes() for path in sorted(files))).hexdigest()[:16]


def read_cells(log: Path, digest: str | None) -> dict[Cell, CellResult]:
    """The cells run by the same source; a torn last line is left out.

    Args:
        log: Of the runs before.
        digest: Of the source; None for the cells of any source that did not fail.
    """
    found: dict[Cell, CellResult] = {}
    if not log.is_file():
        return found
    for line in log.read_text(encoding='utf-8').splitlines():
        try:
            by, head, place, part, values = json.loads(line)
        except ValueError:
            continue
        result = CellResult(**values)
        if by == digest or (digest is None and result.state != FAILED):
            found[Cell(head, place, part)] = result
    return found
