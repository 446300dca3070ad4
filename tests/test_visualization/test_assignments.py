"""Pages and tables of assignments."""

import numpy as np
import pytest
import torch

from registry_losses.errors import DataError
from registry_losses.structures import (
    Assignment,
    GroundTruth,
    Level,
    Priors,
    SoftEntries,
    grid_points,
    level_strides,
)
from registry_losses.visualization import Counts, count_tables, draw_assignments, gt_table
from registry_losses.visualization.assignment_frames import IGNORED, SOFT, gt_colours

# Where the first column's panels begin: row names and a gap; a header, then a row a panel.
LEFT, TOP, ROW = 92 + 6, 22, 64 + 22 + 6
# The legend's first line, and each more that a narrow page asks for.
LEGEND, LINE = 28, 24


def prior_index(num_base: int = 1, offset: float = 0.5) -> Priors:
    """A 64 x 64 image: 8 x 8 cells of 8 pixels, 2 x 2 of 32."""
    levels = tuple(
        Level(64 // s, 64 // s, (float(s), float(s)), ((float(s), float(s)),) * num_base, offset)
        for s in (8, 32)
    )
    centers = torch.cat([grid_points(level).repeat_interleave(num_base, 0) for level in levels])
    strides = level_strides(levels)
    return Priors(torch.cat((centers - strides / 2, centers + strides / 2), dim=1), strides, levels)


def two_gts() -> GroundTruth:
    boxes = torch.tensor([[2.0, 2, 30, 30], [40, 40, 62, 62]])
    return GroundTruth.from_lists([boxes], [torch.tensor([0, 1])], [(64, 64)])


def assignment(priors: Priors, pairs: list, *, soft: list = (), ignored: list = ()) -> Assignment:
    image = torch.zeros(len(pairs), dtype=torch.long)
    left_out = torch.zeros(1, priors.num_priors, dtype=torch.bool)
    left_out[0, list(ignored)] = True
    prior, gt = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).unbind(1)
    entries = None
    if soft:
        at, value = torch.tensor([s for s, _ in soft]), torch.tensor([v for _, v in soft])
        entries = SoftEntries(torch.zeros_like(at), at, torch.zeros_like(at), value)
    return Assignment(image, prior, gt, left_out, soft=entries)


def pixel(page: np.ndarray, row: int, x: int, y: int) -> tuple[int, ...]:
    """A pixel of the first column's panel in a row, in pixels of the 64 x 64 image."""
    return tuple(page[TOP + row * ROW + y, LEFT + x].tolist())


def test_page_shows_positive_soft_and_ignored():
    priors, gt = prior_index(), two_gts()
    found = assignment(priors, [(9, 0), (54, 1)], soft=[(12, 1.0 - 1e-6)], ignored=range(16, 24))
    page = draw_assignments(np.zeros((64, 64, 3), np.uint8), priors, gt, {'ours': found}, panel=64)
    first, second = gt_colours(2)
    # Prior 9 is cell (1, 1): pixels 8 to 15.
    for x, y in ((8, 8), (15, 15)):
        assert pixel(page, 1, x, y) == first
    assert pixel(page, 1, 16, 10) != first and pixel(page, 1, 7, 10) != first
    assert pixel(page, 1, 52, 52) == second
    np.testing.assert_allclose(pixel(page, 1, 35, 11), np.array(SOFT) * 0.9 + 2, atol=2)
    stripe = np.array([pixel(page, 1, x, 20) for x in range(40, 60)]).max(axis=1)
    assert stripe.max() > 0.75 * IGNORED[0] and stripe.min() < 60  # hatched, not filled
    # All levels together: a dot at each centre. No row for the level where nothing is.
    assert pixel(page, 0, 12, 12) == first and pixel(page, 0, 52, 52) == second
    assert page.shape[0] == TOP + 2 * ROW + LEGEND + 3 * LINE  # entries below each other


def test_tiles_follow_the_grid():
    """Three priors a cell, centres at the cells' corners."""
    priors, gt = prior_index(num_base=3, offset=0.0), two_gts()
    found = assignment(priors, [(3 * 9, 0), (3 * 9 + 1, 1), (192 + 3 * 3, 1)])
    page = draw_assignments(np.zeros((64, 64, 3), np.uint8), priors, gt, {'ours': found}, panel=64)
    first, second = gt_colours(2)
    # Cell (1, 1) lies around (8, 8): two tiles above, 4 pixels each.
    assert pixel(page, 1, 5, 5) == first and pixel(page, 1, 9, 5) == second
    assert pixel(page, 1, 5, 9) not in (first, second)
    # The last cell of stride 32 lies around (32, 32).
    assert pixel(page, 2, 18, 18) == second and pixel(page, 2, 50, 20) != second


def test_columns_reasons_and_bare_priors():
    priors, gt = prior_index(), two_gts()
    found = assignment(priors, [(9, 0)])
    image = np.full((40, 64, 3), 200, np.uint8)
    page = draw_assignments(
        image, priors, gt, {'ours': found, 'theirs': 'cannot: ' + 'word ' * 40}, title='a page'
    )
    alone = draw_assignments(image, priors, gt, {'ours': found}, title='a page')
    # The narrower page needs one more line for its legend.
    assert page.shape[0] == alone.shape[0] - LINE and page.shape[1] == alone.shape[1] + 256 + 12
    assert page.shape[0] == 26 + TOP + 2 * (160 + 22 + 6) + LEGEND
    bare = Priors(priors.boxes[None], priors.strides)
    page = draw_assignments(np.zeros((64, 64, 3), np.uint8), bare, gt, {'ours': found}, panel=64)
    assert pixel(page, 1, 8, 12) == gt_colours(1)[0]  # the outline of its box
    with pytest.raises(DataError, match='at least one'):
        draw_assignments(image, priors, gt, {})


def test_counts_and_tables():
    priors, gt = prior_index(), two_gts()
    found = assignment(priors, [(9, 0), (10, 0), (67, 0)], soft=[(12, 0.5), (13, 0.2)], ignored=[0])
    counts = Counts.of(found, priors, gt)
    assert counts.per_gt.tolist() == [[3, 0]] and counts.per_level.tolist() == [2, 1]
    assert (counts.positives, counts.without, counts.soft, counts.ignored) == (3, 1, 2, 1)
    assert [n for n, _ in counts.per_size()] == [0, 2, 0, 0, 0]
    both = counts.plus(counts)
    assert both.per_gt.tolist() == [[3, 0], [3, 0]] and both.positives == 6
    total, level, size, alone = count_tables({'ours': both}, ['stride 8', 'stride 32'])
    assert total.rows == (('ours', '6', '1.5', '2', '4', '2'),)
    assert level.rows == (('ours', '4', '2'),)
    assert size.rows[0] == ('ours', '-', '1.5', '-', '-', '-')
    assert size.rows[1] == ('(gts)', '0', '4', '0', '0', '0')
    assert counts.without_per_size() == [0, 1, 0, 0, 0]
    assert alone.rows[0] == ('ours', '-', '2', '-', '-', '-') and alone.rows[1] == size.rows[1]
    table = gt_table({'ours': counts}, ['one'], [['cat', 'dog']])
    assert table.rows == (('one', '0', 'cat', '28', '3'), ('one', '1', 'dog', '22', '0'))
    assert table.markdown().splitlines()[2:5] == [
        '| image | gt | class | size | ours |',
        '|---|---|---|---|---|',
        '| one | 0 | cat | 28 | 3 |',
    ]


def test_colours_of_gts_differ():
    colours = np.array(gt_colours(12), float)
    distance = np.linalg.norm(colours[:, None] - colours[None], axis=-1) + np.eye(12) * 999
    assert distance.min() > 40
    assert np.linalg.norm(colours - np.array(SOFT), axis=-1).min() > 60
