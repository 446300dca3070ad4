"""OKS AP: perfect, shifted by a known similarity, ignored crowds, undefined sizes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from registry_losses.datasets import COCO_PERSON
from registry_losses.errors import DataError, MissingDependencyError
from registry_losses.evaluation import CocoKeypointMetric
from registry_losses.evaluation.coco_backend import BACKENDS, load_backend

SIGMAS = np.array(COCO_PERSON['sigmas'])


def ground_truth(tmp_path, persons, crowd=()):
    """A file of one image; ``persons`` ``(n, 17, 3)``, each of 40 x 60 pixels."""
    annotations = []
    for number, joints in enumerate(persons):
        annotations.append(
            dict(
                id=number + 1, image_id=7, category_id=1, bbox=[0, 0, 40, 60], area=1500.0,
                iscrowd=int(number in crowd), keypoints=np.asarray(joints).reshape(-1).tolist(),
                num_keypoints=int((np.asarray(joints)[:, 2] > 0).sum()),
            )
        )  # fmt: skip
    content = dict(
        images=[dict(id=7, width=100, height=100, file_name='a.png')],
        annotations=annotations,
        categories=[dict(id=1, name='person', keypoints=list(COCO_PERSON['keypoints']))],
    )
    path = tmp_path / 'gt.json'
    path.write_text(json.dumps(content))
    return str(path)


def persons(n, seed=0):
    rng = np.random.default_rng(seed)
    joints = rng.uniform(5, 90, (n, 17, 2))
    return np.concatenate([joints, np.full((n, 17, 1), 2.0)], axis=2)


def evaluate(path, joints, scores=None, **options):
    metric = CocoKeypointMetric(path, **options)
    metric.dataset_meta = COCO_PERSON
    joints = torch.as_tensor(np.asarray(joints), dtype=torch.float64)
    instances = dict(
        keypoints=joints,
        keypoint_scores=torch.ones(joints.shape[:2]),
        scores=torch.as_tensor(scores if scores is not None else np.ones(len(joints))),
    )
    metric.process(None, [dict(img_id=7, pred_instances=instances)])
    return metric.compute_metrics(metric.results)


def test_a_perfect_answer(tmp_path):
    gt = persons(3)
    result = evaluate(ground_truth(tmp_path, gt), gt[..., :2], [0.9, 0.8, 0.7])
    assert result['keypoints_mAP'] == pytest.approx(1)
    assert result['keypoints_mAP_m'] == pytest.approx(1)
    assert np.isnan(result['keypoints_mAP_l'])  # no person is that large


def test_a_known_similarity(tmp_path):
    """Every joint off by d with exp(-d^2 / (2 area (2 sigma)^2)) = 0.72: five thresholds pass."""
    gt = persons(1)
    shift = np.sqrt(-np.log(0.72) * 2 * 1500.0 * (2 * SIGMAS) ** 2)
    moved = gt[..., :2].copy()
    moved[..., 0] += shift
    result = evaluate(ground_truth(tmp_path, gt), moved)
    assert result['keypoints_mAP'] == pytest.approx(0.5)
    assert result['keypoints_mAP_50'] == pytest.approx(1)
    assert result['keypoints_mAP_75'] == pytest.approx(0)


def test_joints_nobody_labelled_do_not_count(tmp_path):
    gt = persons(1)
    gt[0, 8:, 2] = 0
    answer = gt[..., :2].copy()
    answer[0, 8:] = 0
    assert evaluate(ground_truth(tmp_path, gt), answer)['keypoints_mAP'] == pytest.approx(1)


def test_visible_only_leaves_hidden_joints_out(tmp_path):
    gt = persons(1)
    gt[0, 4:, 2] = 1
    answer = gt[..., :2].copy()
    answer[0, 4:] = 0
    path = ground_truth(tmp_path, gt)
    assert evaluate(path, answer)['keypoints_mAP'] == 0
    assert evaluate(path, answer, visible_only=True)['keypoints_mAP'] == pytest.approx(1)


def test_nothing_found_is_zero_and_files_without_keypoints_are_refused(tmp_path):
    path = ground_truth(tmp_path, persons(2))
    assert evaluate(path, np.zeros((0, 17, 2)))['keypoints_mAP'] == 0
    content = json.loads(Path(path).read_text())
    del content['categories'][0]['keypoints']
    other = tmp_path / 'boxes.json'
    other.write_text(json.dumps(content))
    with pytest.raises(DataError, match='a category with keypoints'):
        evaluate(str(other), persons(1)[..., :2])


def test_results_file(tmp_path):
    gt = persons(2)
    path = ground_truth(tmp_path, gt)
    prefix = str(tmp_path / 'out')
    assert evaluate(path, gt[..., :2], outfile_prefix=prefix, format_only=True) == {}
    written = json.loads((tmp_path / 'out.keypoints.json').read_text())
    assert len(written) == 2 and len(written[0]['keypoints']) == 51
    np.testing.assert_allclose(np.reshape(written[0]['keypoints'], (17, 3))[:, :2], gt[0, :, :2])


def test_the_libraries_agree(tmp_path):
    gt = persons(4)
    rng = np.random.default_rng(1)
    answer = gt[..., :2] + rng.normal(0, 2.0, (4, 17, 2))
    path = ground_truth(tmp_path, gt, crowd=(3,))
    results = []
    for backend in BACKENDS:
        try:
            load_backend(backend)
        except MissingDependencyError:
            continue
        results.append(evaluate(path, answer, [0.9, 0.6, 0.8, 0.4], backend=backend))
    assert results
    for other in results[1:]:
        for key, value in results[0].items():
            np.testing.assert_allclose(other[key], value, atol=1e-9)


@pytest.mark.parametrize('ids', [[0, 1, 2], [1, 1, 1], [-1, -2, -3], ['a', 'b', 'c']])
@pytest.mark.parametrize('iscrowd', [0, '0', None])
def test_ids_and_flags_of_files_do_not_change_ap(tmp_path, ids, iscrowd):
    gt = persons(3)
    path = Path(ground_truth(tmp_path, gt))
    content = json.loads(path.read_text())
    for ann, number in zip(content['annotations'], ids):
        ann.update(id=number, iscrowd=iscrowd, area=None)
    path.write_text(json.dumps(content))
    found = evaluate(str(path), gt[..., :2], [0.9, 0.8, 0.7])
    assert found['keypoints_mAP'] == pytest.approx(1)
