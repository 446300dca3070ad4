"""The cells of the grid: one part of one small detector changed, and what came of it."""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

from ...errors import PairingError
from .checks import examine_patiently
from .detectors import GRID_HEADS, HEADS, head_config, node_at
from .rules import default_head, loss_holder, places, rule_against

TRAINS, REFUSED, FAILED = 'trains', 'refused', 'failed'


class Cell(NamedTuple):
    """One cell: a head, a place in it, and the label of what is put there."""

    head: str
    place: str
    part: str


@dataclass(frozen=True)
class CellResult:
    """What a cell did.

    Args:
        state: ``trains``, ``refused`` (as a rule demands) or ``failed``.
        rule: Of :data:`~.rules.RULES`, where one refuses the cell.
        message: The refusal, or what is wrong.
        positives: Pairs of each image before training.
        before: Each term at the start, against the targets of the end.
        after: Each term at the end.
        seconds: It took.
        commit: Of the source that it was run by.
    """

    state: str
    rule: str = ''
    message: str = ''
    positives: list[int] = field(default_factory=list)
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    commit: str = ''


@cache
def all_cells(heads: tuple[str, ...] = HEADS) -> tuple[Cell, ...]:
    """Every registered part at every place of every head, the meaningless ones too."""
    return tuple(
        Cell(head, name, part)
        for head in heads
        for name, place in places(head).items()
        for part in place.choices()
    )


def change(config: dict[str, Any], head: str, place: str, part: Mapping[str, Any]) -> None:
    """Put a part's node at a place of a head's config."""
    node_at(config, places(head)[place].node)[place] = copy.deepcopy(dict(part))


def is_helpful(message: str, cell: Cell) -> bool:
    """Whether a refusal names the place, or its term of the head, and says what to do."""
    head, place = default_head(cell.head), cell.place
    own = getattr(loss_holder(head), place, None)
    names = {place, 'grid', *(term.name for term in head.loss_terms if term.loss is own)}
    return any(name in message for name in names) and bool(_REMEDY.search(message))


_REMEDY = re.compile(r'; (choose|leave|give|check|use)\b')


def run_cell(cell: Cell) -> CellResult:
    """Build and train a cell; see :func:`~.checks.examine` for what is asked of it."""
    start = time.perf_counter()
    config = head_config(cell.head)
    change(config, cell.head, cell.place, places(cell.head)[cell.place].choices()[cell.part])
    rule, head = rule_against(*cell), GRID_HEADS[cell.head].head
    try:
        found = examine_patiently(config, head=head)
    except PairingError as error:
        seconds = time.perf_counter() - start
        state = REFUSED if rule and is_helpful(str(error), cell) else FAILED
        return CellResult(state, rule or '', str(error), seconds=seconds)
    seconds = time.perf_counter() - start
    if rule:
        return CellResult(FAILED, rule, f'trains against the rule: {rule}', seconds=seconds)
    return CellResult(
        FAILED if found.problems else TRAINS,
        message='; '.join(found.problems[:3]),
        positives=found.positives,
        before=found.before,
        after=found.after,
        seconds=seconds,
    )
