"""Errors by kind, each made on purpose."""

import numpy as np
import pytest

from registry_losses.evaluation.error_kinds import (
    KINDS,
    confusion_matrix,
    crowd_groups,
    error_table,
    match_results,
    mean_ap,
    mended,
    recall_by,
    size_groups,
)

BOX = [0, 0, 10, 10]


def result(gts, preds, ignored=()):
    """gts, ignored: (box, label); preds: (box, label, score)."""

    def boxes(items):
        return np.array([i[0] for i in items], float).reshape(-1, 4)

    def column(items, k, kind):
        return np.array([i[k] for i in items], kind)

    return dict(
        img_id=0,
        bboxes=boxes(preds),
        labels=column(preds, 1, int),
        scores=column(preds, 2, float),
        gt_bboxes=boxes(gts),
        gt_labels=column(gts, 1, int),
        ignored_bboxes=boxes(ignored),
        ignored_labels=column(ignored, 1, int),
    )


@pytest.mark.parametrize(
    ('kind', 'box', 'label'),
    [
        ('class', [0, 0, 10, 9], 1),
        ('location', [0, 0, 10, 3], 0),
        ('both', [0, 0, 10, 3], 1),
        ('duplicate', [0, 0, 10, 9], 0),
        ('background', [50, 50, 60, 60], 0),
    ],
)
def test_each_kind(kind, box, label):
    preds = [(box, label, 0.5)]
    if kind == 'duplicate':
        preds.append((BOX, 0, 0.9))
    matched = match_results([result([(BOX, 0)], preds)])
    assert [KINDS[k] for k in matched.kind if k >= 0] == [kind]
    table = error_table(matched, 2)
    assert {name: count for name, (count, _) in table.items() if name in KINDS and count} == {
        kind: 1
    }
    # A gt that an error of class or location meant is not counted as missed as well.
    assert table['missed'][0] == (1 if kind in ('both', 'background') else 0)
    gain = {'class': 1, 'location': 1}.get(kind, 0)
    assert table[kind][1] == pytest.approx(gain)


def test_gains_by_hand():
    """A hit at .9, a false alarm at .8, a hit at .7, a gt not found: AP (1/3)(1 + 2/3)."""
    gts = [(BOX, 0), ([20, 0, 30, 10], 0), ([40, 0, 50, 10], 0)]
    preds = [(BOX, 0, 0.9), ([80, 80, 90, 90], 0, 0.8), ([20, 0, 30, 10], 0, 0.7)]
    matched = match_results([result(gts, preds)])
    assert mean_ap(matched, 1) == pytest.approx(5 / 9)
    table = error_table(matched, 1)
    assert table['background'] == (1, pytest.approx(2 / 3 - 5 / 9))
    assert table['missed'] == (1, pytest.approx(5 / 6 - 5 / 9))
    assert mean_ap(mended(matched, 'false alarms'), 1) == pytest.approx(2 / 3)


def test_two_errors_that_mean_one_gt_mend_it_once():
    gts = [(BOX, 0)]
    preds = [([0, 0, 10, 4], 0, 0.9), ([0, 0, 4, 10], 0, 0.8)]
    fixed = mended(match_results([result(gts, preds)]), 'location')
    assert len(fixed.scores) == 1 and fixed.hit.tolist() == [True] and mean_ap(fixed, 1) == 1


def test_ignore_regions_swallow_false_alarms():
    preds = [([30, 30, 40, 40], 0, 0.9), (BOX, 0, 0.5)]
    crowd = [([25, 25, 60, 60], 0)]
    assert mean_ap(match_results([result([(BOX, 0)], preds, crowd)]), 1) == 1
    other = [([25, 25, 60, 60], 1)]
    assert mean_ap(match_results([result([(BOX, 0)], preds, other)]), 1) == 0.5
    assert confusion_matrix([result([(BOX, 0)], preds, crowd)], 1).tolist() == [[1, 0], [0, 0]]


def test_confusion_by_hand():
    gts = [(BOX, 0), ([20, 0, 30, 10], 1), ([40, 0, 50, 10], 1)]
    preds = [(BOX, 1, 0.9), ([20, 0, 30, 9], 1, 0.8), ([80, 0, 90, 9], 0, 0.7), (BOX, 0, 0.1)]
    assert confusion_matrix([result(gts, preds)], 2).tolist() == [[0, 1, 0], [0, 1, 1], [1, 0, 0]]


def test_groups():
    sizes = [4, 5, 20, 21, 80, 81]
    gts = [([0, 100 * i, s, 100 * i + s], 0) for i, s in enumerate(sizes)]
    matched = match_results([result(gts, [(gts[0][0], 0, 0.9), (gts[5][0], 0, 0.8)])])
    found = recall_by(matched, size_groups(matched))
    assert [count for count, _ in found.values()] == [2, 2, 2]
    assert [share for _, share in found.values()] == [0.5, 0, 0.5]
    touching = [(BOX, 0), ([2, 0, 12, 10], 0), ([4, 0, 14, 10], 0), ([50, 0, 60, 10], 0)]
    matched = match_results([result(touching, []), result([(BOX, 0)], [])])
    counts = [count for count, _ in recall_by(matched, crowd_groups(matched)).values()]
    assert counts == [2, 0, 3]


def test_nothing_at_all():
    matched = match_results([result([], [])])
    assert np.isnan(mean_ap(matched, 2)) and size_groups(matched) == {}
    assert all(count == 0 for count, _ in error_table(matched, 2).values())
