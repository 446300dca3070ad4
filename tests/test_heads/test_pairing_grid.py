"""Any head trains with any assigner, sampler and loss, or says when it is built why not.

A cell changes one part of a small detector. By default each part is tried on some heads in
turn, and a few detectors change everything at once; ``make grid`` tries every part on every
head, the ``slow`` tests many more detectors of drawn parts.
"""

import random

import pytest

from registry_losses.testing.pairings import (
    HEADS,
    Cell,
    all_cells,
    change,
    head_config,
    places,
    problems_of,
    rule_against,
    run_cell,
)
from registry_losses.testing.pairings.cells import REFUSED, TRAINS
from registry_losses.testing.pairings.detectors import GRID_HEADS

PLACES = list(dict.fromkeys(name for head in HEADS for name in places(head)))
# Places of which only every so manieth loss is tried by default.
THINNED = dict(
    loss_conf=5, loss_centerness=3, loss_obj=8, loss_xy=8, loss_wh=8, loss_offset=8,
    loss_heatmap=5, loss_background=8, loss_field=3,
)  # fmt: skip


def meant(place: str) -> list[str]:
    """The parts that train at a place on some head."""
    heads = [head for head in HEADS if place in places(head)]
    parts = dict.fromkeys(part for head in heads for part in places(head)[place].choices())
    return [p for p in parts if any(rule_against(head, place, p) is None for head in heads)]


def some_cells() -> list[Cell]:
    """Each part on one head, on the next head each, and the samplers on two."""
    chosen = []
    for shift, place in enumerate(PLACES):
        heads = [head for head in HEADS if place in places(head)]
        for index, part in enumerate(meant(place)):
            if index % THINNED.get(place, 1):
                continue
            # The same losses as of classes: a share of them is enough.
            able = [head for head in heads if rule_against(head, place, part) is None]
            if place == 'loss_bbox' and part != 'L1Loss' and 'roi' in able[1:]:
                able.remove('roi')  # it trains slowest by far
            picks = {able[(index * 2 + shift) % len(able)]}
            if (place, part) == ('loss_bbox', 'L1Loss'):
                picks.add('roi')
            if place == 'sampler':
                picks.add(able[(index * 2 + shift + 5) % len(able)])
            chosen += [Cell(head, place, part) for head in sorted(picks)]
    return chosen


def refused_cells(count: int = 12) -> list[Cell]:
    """Some of the cells that a rule refuses, of each rule some."""
    by_rule = {}
    for cell in all_cells():
        rule = rule_against(*cell)
        if rule:
            by_rule.setdefault(rule, []).append(cell)
    draw = random.Random(0)
    return [c for cells in by_rule.values() for c in draw.sample(cells, min(len(cells), count))]


def check_cross(seed: int) -> None:
    """A detector all of whose parts are drawn."""
    draw = random.Random(seed)
    head = HEADS[seed % len(HEADS)]
    config = head_config(head)
    drawn = []
    for place, where in places(head).items():
        names = [name for name in where.choices() if rule_against(head, place, name) is None]
        # CenterNet and YOLOv3 take either whole boxes or parts of their code.
        optional = place == 'loss_bbox' and head in ('centernet', 'yolov3')
        if optional and draw.random() < 0.5:
            continue
        drawn.append(draw.choice(names))
        change(config, head, place, where.choices()[drawn[-1]])
    assert problems_of(config, head=GRID_HEADS[head].head) == [], (head, drawn)


@pytest.mark.parametrize('cell', some_cells(), ids='-'.join)
def test_each_part_trains_on_some_head(cell):
    result = run_cell(cell)
    assert result.state == TRAINS, result.message


@pytest.mark.parametrize('cell', refused_cells(), ids='-'.join)
def test_what_has_no_meaning_is_refused_with_a_remedy(cell):
    result = run_cell(cell)
    assert result.state == REFUSED, result.message


@pytest.mark.parametrize('seed', range(6))
def test_some_detectors_of_drawn_parts_train(seed):
    check_cross(seed)


@pytest.mark.slow
@pytest.mark.parametrize('seed', range(100, 280))
def test_detectors_of_drawn_parts_train(seed):
    check_cross(seed)


def test_the_grid_holds_every_registered_part():
    cells = all_cells()
    assert len({c.part for c in cells if c.place == 'assigner'}) >= 21
    assert len({c.part for c in cells if c.place == 'sampler'}) >= 5
    tried = {(cell.place, cell.part) for cell in some_cells()}
    for place in ('assigner', 'sampler', 'loss_cls', 'loss_bbox'):
        assert {(place, part) for part in meant(place)} <= tried
    assert {cell.head for cell in some_cells()} == set(HEADS)
