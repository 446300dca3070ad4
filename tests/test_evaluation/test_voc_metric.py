"""VOC AP by hand and against a naive loop."""

import itertools
import math

import numpy as np
import pytest

from registry_losses.errors import ConfigError
from registry_losses.evaluation import VOCMetric, average_precision

from .test_coco_metric import META, random_samples, sample


def evaluate(samples, **options):
    metric = VOCMetric(**options)
    metric.dataset_meta = META
    metric.process({}, [s.to_dict() for s in samples])
    return metric.evaluate(len(samples))


PREDS = [([0, 0, 10, 10], 0, 0.9), ([50, 50, 60, 60], 0, 0.8), ([20, 0, 30, 10], 0, 0.7)]
GTS = [([0, 0, 10, 10], 0), ([20, 0, 30, 10], 0)]


def test_by_hand():
    """Hit, false alarm, hit: precision 1 up to recall 1/2, 2/3 up to recall 1."""
    area = evaluate([sample(1, GTS, PREDS)], eval_mode='area')
    assert area['pascal_voc/mAP'] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    points = evaluate([sample(1, GTS, PREDS)])  # recall 0 to 0.5 are six of the eleven
    assert points['pascal_voc/AP50'] == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)


def test_a_second_detection_of_an_object_is_a_false_alarm():
    preds = [([0, 0, 10, 10], 0, 0.9), ([0, 0, 10, 9], 0, 0.8), ([20, 0, 30, 10], 0, 0.7)]
    assert evaluate([sample(1, GTS, preds)], eval_mode='area')['pascal_voc/mAP'] == pytest.approx(
        5 / 6
    )


def test_difficult_objects_are_neither_hit_nor_miss():
    hard = [([50, 50, 60, 60], 0)]
    found = evaluate([sample(1, GTS, PREDS, hard)], eval_mode='area')
    assert found['pascal_voc/mAP'] == 1
    assert evaluate([sample(1, GTS, PREDS, [([50, 50, 60, 60], 1)])], eval_mode='area')[
        'pascal_voc/mAP'
    ] == pytest.approx(5 / 6)


def test_thresholds_classes_and_nothing():
    half = [sample(1, [([0, 0, 10, 10], 0)], [([0, 0, 6, 10], 0, 0.9)])]
    found = evaluate(half, iou_thrs=[0.5, 0.7])
    assert (found['pascal_voc/AP50'], found['pascal_voc/AP70']) == (1, 0)
    assert found['pascal_voc/mAP'] == 0.5
    # A class without gt does not count, and one without predictions counts as 0.
    both = [sample(1, [([0, 0, 9, 9], 0), ([0, 0, 9, 9], 1)], [([0, 0, 9, 9], 0, 0.9)])]
    assert evaluate(both)['pascal_voc/mAP'] == 0.5
    assert math.isnan(evaluate([sample(1, [], PREDS)])['pascal_voc/mAP'])
    with pytest.raises(ConfigError, match='eval_mode'):
        VOCMetric(eval_mode='12points')


def naive_ap(samples, label, threshold, mode):
    rows = [
        (float(s), i, box)
        for i, one in enumerate(samples)
        for box, s, lab in zip(
            one.pred_instances.bboxes.double().tolist(),
            one.pred_instances.scores.tolist(),
            one.pred_instances.labels.tolist(),
        )
        if lab == label
    ]
    gts = [
        [
            box
            for box, lab in zip(s.gt_instances.bboxes.double().tolist(), s.gt_instances.labels)
            if lab == label
        ]
        for s in samples
    ]
    total, used, flags = sum(map(len, gts)), set(), []
    for _, i, box in sorted(rows, key=lambda r: -r[0]):
        ious = []
        for gt in gts[i]:
            w = min(box[2], gt[2]) - max(box[0], gt[0])
            h = min(box[3], gt[3]) - max(box[1], gt[1])
            inter = max(w, 0) * max(h, 0)
            a = (box[2] - box[0]) * (box[3] - box[1]) + (gt[2] - gt[0]) * (gt[3] - gt[1])
            ious.append(inter / (a - inter))
        best = int(np.argmax(ious)) if ious else -1
        hit = best >= 0 and ious[best] >= threshold and (i, best) not in used
        flags.append(hit)
        if hit:
            used.add((i, best))
    recall = [sum(flags[: k + 1]) / total for k in range(len(flags))]
    precision = [sum(flags[: k + 1]) / (k + 1) for k in range(len(flags))]
    best_from = lambda r: max((p for p, q in zip(precision, recall) if q >= r - 1e-9), default=0)  # noqa: E731
    if mode == '11points':
        return sum(best_from(t / 10) for t in range(11)) / 11
    steps = sorted({0.0, *recall})
    return sum((b - a) * best_from(b) for a, b in itertools.pairwise(steps))


@pytest.mark.parametrize('mode', ['area', '11points'])
@pytest.mark.parametrize('seed', range(4))
def test_against_a_naive_loop(mode, seed):
    samples = random_samples(seed)
    found = evaluate(samples, iou_thrs=[0.5, 0.75], eval_mode=mode)
    for threshold in (0.5, 0.75):
        expected = np.mean([naive_ap(samples, label, threshold, mode) for label in (0, 1)])
        assert found[f'pascal_voc/AP{threshold * 100:.0f}'] == pytest.approx(expected)


def test_average_precision_of_nothing():
    empty = np.zeros(0)
    assert average_precision(empty, empty, mode='area') == 0
    assert average_precision(empty, empty, mode='11points') == 0
