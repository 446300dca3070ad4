"""Results of samples before any metric sees them."""

import numpy as np
import pytest

from registry_losses.errors import DataError
from registry_losses.evaluation import CocoMetric, VOCMetric

GT = np.array([[0, 0, 10, 10.0]])


def sample(img_id, preds=GT, labels=(0,), scores=None, path=None, gts=GT):
    preds = np.asarray(preds, float)
    scores = np.full(len(preds), 0.9) if scores is None else np.asarray(scores, float)
    return dict(
        img_id=img_id,
        img_path=path,
        gt_instances=dict(bboxes=gts, labels=np.zeros(len(gts), int)),
        pred_instances=dict(bboxes=preds, labels=np.asarray(labels, int), scores=scores),
    )


def evaluate(kind, samples):
    metric = kind()
    metric.dataset_meta = dict(classes=('a', 'b'))
    metric.process({}, samples)
    found = metric.evaluate(len(samples))
    return found['coco/bbox_mAP_50' if kind is CocoMetric else 'pascal_voc/AP50']


BOTH = pytest.mark.parametrize('kind', [CocoMetric, VOCMetric])


@BOTH
def test_images_of_one_id_from_different_folders_both_count(kind):
    none = np.zeros((0, 4))
    samples = [sample('1', path='day/1.jpg'), sample('1', none, (), path='night/1.jpg')]
    assert evaluate(kind, samples) == pytest.approx(51 / 101 if kind is CocoMetric else 6 / 11)
    assert evaluate(kind, [samples[0], samples[0]]) == 1


@BOTH
@pytest.mark.parametrize('ids', [('x', 'y'), (0, -1), (10**30, 'z'), (1.0, '1')])
def test_any_image_id_will_do(kind, ids):
    assert evaluate(kind, [sample(i) for i in ids]) == pytest.approx(1)


@BOTH
def test_predictions_that_are_not_finite_are_left_out(kind):
    preds = [[0, 0, np.nan, 10], *GT.tolist(), [0, 0, 5, 5]]
    assert evaluate(kind, [sample(1, preds, (0, 0, 0), (0.95, 0.9, np.nan))]) == 1


@BOTH
@pytest.mark.parametrize('label', [-1, 2])
def test_labels_that_are_no_class_are_an_error(kind, label):
    with pytest.raises(DataError, match=rf'image 7: predicted labels \[{label}\], .* 2 classes'):
        evaluate(kind, [sample(7, labels=(label,))])
