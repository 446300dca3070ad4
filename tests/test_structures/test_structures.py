"""The value types: padding, validity, views and their tie breaks."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.structures import InstanceData

from registry_losses.errors import DataError, ShapeError
from registry_losses.structures import (
    Assignment,
    ClassTargets,
    DetDataSample,
    GroundTruth,
    HeadOutput,
    Level,
    Priors,
    SoftEntries,
    findable,
    flatten_maps,
)


def ints(*values):
    return torch.tensor(values, dtype=torch.long)


def sample(boxes, labels, size=(40, 60), **meta):
    out = DetDataSample(metainfo=dict(img_shape=size, **meta))
    out.gt_instances = InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), labels=ints(*labels)
    )
    return out


def test_ground_truth_pads_images_of_different_counts():
    gt = GroundTruth.from_data_samples(
        [sample([[0, 0, 4, 4], [1, 1, 5, 9]], [3, 1]), sample([], [])]
    )
    assert gt.boxes.shape == (2, 2, 4)
    assert gt.valid.tolist() == [[True, True], [False, False]]
    assert gt.labels[0].tolist() == [3, 1]
    assert gt.points[0, 1].tolist() == [3.0, 5.0]
    assert gt.image_sizes.tolist() == [[40, 60], [40, 60]]
    assert gt.ignore_boxes.shape == (2, 0, 4)


def test_a_batch_without_gts_has_no_width():
    gt = GroundTruth.from_data_samples([sample([], []), sample([], [])])
    assert gt.boxes.shape == (2, 0, 4) and gt.max_gts == 0


def test_a_sample_without_labels_names_its_image():
    broken = sample([[0, 0, 1, 1]], [0], img_path='street.png')
    del broken.gt_instances.labels
    with pytest.raises(DataError, match=r'street.png.*labels'):
        GroundTruth.from_data_samples([broken])


@pytest.mark.parametrize(
    'box, expected',
    [
        ([0, 0, 5, 5], True),
        ([-9, 0, 0, 5], False),  # only touches the left border
        ([60, 0, 70, 5], False),
        ([60, 40, 60, 40], True),  # a point on the corner
        ([59, 39, 80, 80], True),
        ([5, 5, 4, 9], False),  # inverted
        ([5, 5, 5, 9], True),  # no area, still findable
        ([float('nan'), 0, 5, 5], False),
        ([0, 0, float('inf'), 5], False),
    ],
)
def test_findable(box, expected):
    boxes = torch.tensor([[box]], dtype=torch.float32)
    assert findable(boxes, torch.tensor([[40.0, 60.0]])).item() is expected


def test_priors_check_their_levels():
    with pytest.raises(ShapeError, match='hold 4 priors, but boxes has 3'):
        Priors(torch.zeros(3, 4), torch.ones(3, 2), (Level(2, 2, (8, 8), ((8, 8),)),))


def naive_dense(entries, ignored, rows, classes):
    """Positive wins over soft, then the largest value; ignored rows stay zero."""
    best = {}
    for row, cls, value, positive in entries:
        if not ignored[row]:
            best[row, cls] = max(best.get((row, cls), (False, 0.0)), (positive, value))
    dense = [[0.0] * classes for _ in range(rows)]
    for (row, cls), (_, value) in best.items():
        dense[row][cls] = value
    return dense, best


entry = st.tuples(
    st.integers(0, 3), st.integers(0, 2), st.sampled_from([0.25, 0.5, 0.75, 1.0]), st.booleans()
)


@given(st.lists(entry, max_size=12), st.lists(st.booleans(), min_size=4, max_size=4))
@settings(max_examples=60, deadline=None)
def test_merge_equals_the_naive_rule(entries, ignored):
    columns = list(zip(*entries)) if entries else [(), (), (), ()]
    targets = ClassTargets.merge(
        ints(*columns[0]),
        ints(*columns[1]),
        torch.tensor(columns[2], dtype=torch.float32),
        torch.tensor(columns[3], dtype=torch.bool),
        torch.tensor(ignored),
        3,
    )
    dense, best = naive_dense(entries, ignored, 4, 3)
    assert targets.dense().tolist() == dense
    keys = list(zip(targets.rows.tolist(), targets.classes.tolist()))
    assert len(set(keys)) == len(keys)
    for key, positive in zip(keys, targets.positive.tolist()):
        assert best[key][0] == positive

    labels, scores, weight = targets.label_score()
    for row in range(4):
        mine = {c: v for (r, c), (p, v) in best.items() if r == row and p}
        soft_only = not mine and any(r == row for r, _ in best)
        top = max(mine.values(), default=0.0)
        want = min((c for c, v in mine.items() if v == top), default=3)
        assert labels[row] == want and scores[row] == top
        assert weight[row] == (0.0 if ignored[row] or soft_only else 1.0)


def test_from_labels_takes_background_and_ignored():
    targets = ClassTargets.from_labels(ints(1, 4, -1, 0), 4, scores=torch.tensor([0.5, 9, 9, 1]))
    assert targets.rows.tolist() == [0, 3]
    assert targets.values.tolist() == [0.5, 1.0]
    assert targets.ignored.tolist() == [False, False, True, False]


def test_one_gt_per_prior_prefers_quality_then_the_smaller_box_then_the_lower_gt():
    boxes = torch.tensor([[0.0, 0, 9, 9], [0, 0, 3, 3], [0, 0, 3, 3]])
    gt = GroundTruth.from_lists([boxes], [ints(0, 1, 2)], [(20, 20)])
    ignored = torch.zeros(1, 3, dtype=torch.bool)
    rows = [(0, 0, 0.5), (0, 1, 0.9), (1, 0, 0.5), (1, 2, 0.5), (2, 2, 0.5), (2, 1, 0.5)]
    for order in itertools.permutations(range(6), 6):
        chosen = [rows[i] for i in order]
        assignment = Assignment(
            ints(*[0] * 6),
            ints(*[r[0] for r in chosen]),
            ints(*[r[1] for r in chosen]),
            ignored,
            quality=torch.tensor([r[2] for r in chosen]),
        )
        one = assignment.one_gt_per_prior(gt)
        assert one.prior.tolist() == [0, 1, 2] and one.gt.tolist() == [1, 2, 1]
        if order[0] == 2:  # a sample of the permutations is enough
            break


def test_views_code_negatives_ignored_and_positives():
    gt = GroundTruth.from_lists([torch.tensor([[0.0, 0, 4, 4]])], [ints(2)], [(9, 9)])
    ignored = torch.tensor([[False, True, False]])
    assignment = Assignment(ints(0), ints(2), ints(0), ignored, quality=torch.tensor([0.5]))
    priors = Priors(torch.zeros(3, 4), torch.ones(3, 2))
    assert assignment.gt_inds(gt).tolist() == [[0, -1, 1]]
    assert assignment.dense_labels(gt, 5).tolist() == [[5, -1, 2]]
    soft = assignment.dense_soft(gt, priors, 3)
    assert soft[0, 2].tolist() == [0, 0, 0.5] and soft.shape == (1, 3, 3)


def test_soft_entries_of_ignored_priors_vanish():
    gt = GroundTruth.from_lists([torch.tensor([[0.0, 0, 4, 4]])], [ints(0)], [(9, 9)])
    soft = SoftEntries(ints(0, 0), ints(0, 1), ints(0, 0), torch.tensor([0.4, 0.6]))
    ignored = torch.tensor([[True, False, False]])
    assignment = Assignment(ints(0), ints(2), ints(0), ignored, soft=soft)
    priors = Priors(torch.zeros(3, 4), torch.ones(3, 2))
    targets = assignment.class_targets(gt, priors, 1)
    assert targets.dense().squeeze(1).tolist() == [0, pytest.approx(0.6), 1]
    assert targets.positive.tolist() == [False, True]


def test_a_shared_class_row_is_ignored_only_when_all_its_priors_are():
    priors = Priors(
        torch.zeros(4, 4), torch.ones(4, 2), class_row=ints(0, 0, 1, 1), num_class_rows=2
    )
    ignored = torch.tensor([[True, False, True, True]])
    none = ints()
    assignment = Assignment(none, none, none, ignored)
    assert assignment.ignored_rows(priors).tolist() == [False, True]


def test_flatten_maps_orders_level_y_x_a():
    level = torch.arange(2 * 3 * 4).reshape(1, 6, 2, 2)  # A = 3, D = 2
    flat = flatten_maps([level], 3, 2)
    for y, x, a, d in itertools.product(range(2), range(2), range(3), range(2)):
        assert flat[0, (y * 2 + x) * 3 + a, d] == level[0, a * 2 + d, y, x]
    with pytest.raises(ShapeError, match='level 0: expected 2 x 2 channels, got 6'):
        flatten_maps([level], 2, 2)


def test_a_missing_branch_names_those_there_are():
    output = HeadOutput.of({'cls': torch.zeros(1, 2, 3)})
    with pytest.raises(KeyError, match="no output 'bbox'; it has: cls"):
        output['bbox']
