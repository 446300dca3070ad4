"""Centre rules and matching equal to the reference outputs of mmdet 3.3.0, MMYOLO 0.6.0, MMPose."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from registry_losses.assigners import (
    BatchTaskAlignedAssigner,
    CenterNetAssigner,
    DynamicSoftLabelAssigner,
    FCOSAssigner,
    GaussianAssigner,
    HungarianAssigner,
    SimOTAAssigner,
    TaskAlignedAssigner,
)
from registry_losses.priors import MlvlPointGenerator
from registry_losses.structures import GroundTruth, Predictions, Priors

from . import golden

SIZE = (golden.HEIGHT, golden.WIDTH)
FORMS = pytest.mark.parametrize('on_grid', [True, False], ids=['grid', 'bare'])


def form(priors: Priors, on_grid: bool) -> Priors:
    return priors if on_grid else Priors(priors.boxes, priors.strides, centers=priors.centers)


def gt_of(arrays: dict) -> GroundTruth:
    return GroundTruth.from_lists([arrays['in_gt_bboxes']], [arrays['in_gt_labels']], [SIZE])


def test_fcos():
    strides = [8, 16, 32, 64, 128]
    priors = golden.point_priors(strides, 0.5)
    count = 0
    for case, arrays in golden.cases('FCOSTargets'):
        gt = gt_of(arrays)
        for ranges in (None, case['regress_ranges']):
            found = FCOSAssigner(ranges, **case['kwargs'])(priors, gt)
            assert torch.equal(found.dense_labels(gt, 8)[0], arrays['out_labels'])
            boxes, points = found.boxes_of(gt), priors.centers[found.prior]
            targets = torch.cat((points - boxes[:, :2], boxes[:, 2:] - points), dim=1)
            torch.testing.assert_close(targets, arrays['out_bbox_targets_pos'])
        count += 1
    assert count == 26


@pytest.mark.parametrize('offset', [0.0, 0.5])
def test_centernet(offset):
    priors = golden.point_priors([8], offset)
    for case, arrays in golden.cases('CenterNetTargets'):
        gt = gt_of(arrays)
        found = CenterNetAssigner(min_overlap=0.3)(priors, gt)
        heat = found.dense_soft(gt, priors, case['num_classes'])[0].t()
        expected = arrays['out_center_heatmap_target'][0].flatten(1)
        torch.testing.assert_close(heat, expected)
        one = found.one_gt_per_prior(gt)
        boxes = one.boxes_of(gt)
        size = torch.zeros(2, priors.num_priors)
        size[:, one.prior] = ((boxes[:, 2:] - boxes[:, :2]) / 8).t()
        torch.testing.assert_close(size, arrays['out_wh_target'][0].flatten(1))
        weight = arrays['out_wh_offset_target_weight'][0, 0].flatten()
        assert torch.equal(found.positive_mask()[0], weight > 0)
        centres = int(found.class_targets(gt, priors, case['num_classes']).positive.sum())
        assert max(centres, 1) == case['avg_factor']


@FORMS
@pytest.mark.parametrize(
    ('key', 'assigner'),
    [('simota', SimOTAAssigner), ('rtmdet', DynamicSoftLabelAssigner)],
)
def test_cost_matching(key, assigner, on_grid):
    priors = golden.point_priors([8, 16, 32], 0.0)
    rows = torch.cat((priors.centers, priors.strides), dim=1)
    assert torch.equal(rows, golden.shared('CostMatching', 'yolox'))
    count = 0
    for case, arrays in golden.cases('CostMatching'):
        pred = SimpleNamespace(
            bboxes=arrays['in_pred_bboxes'],
            scores=arrays['in_pred_scores'],
            priors=priors if on_grid else rows,
        )
        gts, _ = golden.instances(arrays)
        result = assigner(**case[key]).assign(pred, gts)
        assert torch.equal(result.gt_inds, arrays[f'{key}_out_gt_inds'].long())
        assert torch.equal(result.labels, arrays[f'{key}_out_labels'].long())
        torch.testing.assert_close(result.max_overlaps, arrays[f'{key}_out_max_overlaps'])
        # The batched form on probabilities: the same pairs, and IoU as their quality.
        scores = arrays['in_pred_scores']
        scores = scores.sigmoid() if key == 'rtmdet' else scores
        gt = gt_of(arrays)
        predictions = Predictions(arrays['in_pred_bboxes'][None], scores[None])
        found = assigner(**case[key])(form(priors, on_grid), gt, predictions)
        assert torch.equal(found.gt_inds(gt)[0], result.gt_inds)
        overlaps = arrays[f'{key}_out_max_overlaps'][found.prior]
        torch.testing.assert_close(found.quality, overlaps.clamp(min=1e-7))
        count += found.num_pairs
    assert count > 60


def test_task_aligned():
    priors = golden.shared('TaskAlignedAssigner', 'tood')
    count = 0
    for case, arrays in golden.cases('TaskAlignedAssigner'):
        kwargs = dict(case['kwargs'])
        assigner = TaskAlignedAssigner(kwargs.pop('topk'), alpha=9, beta=9)
        pred = InstanceData(
            bboxes=arrays['in_pred_bboxes'], scores=arrays['in_pred_scores'], priors=priors
        )
        gts, _ = golden.instances(arrays)
        result = assigner.assign(pred, gts, None, **kwargs)
        assert (assigner.alpha, assigner.beta) == (9, 9)
        assert torch.equal(result.gt_inds, arrays['out_gt_inds'].long())
        assert torch.equal(result.labels, arrays['out_labels'].long())
        torch.testing.assert_close(result.max_overlaps, arrays['out_max_overlaps'])
        torch.testing.assert_close(result.assign_metrics, arrays['out_assign_metrics'])
        _check_normalised(priors, arrays, kwargs)
        count += int((result.gt_inds > 0).sum())
    assert count > 150


def _check_normalised(priors, arrays, kwargs) -> None:
    """Of each gt: metric / (largest metric + 1e-7) * largest IoU, as TOOD's head has it."""
    gt = gt_of(arrays)
    predictions = Predictions(arrays['in_pred_bboxes'][None], arrays['in_pred_scores'][None])
    found = TaskAlignedAssigner(13, **kwargs)(
        Priors(priors, torch.ones(len(priors), 2)), gt, predictions
    )
    for g in range(gt.max_gts):
        mine = found.gt == g
        if mine.any():
            metric = arrays['out_assign_metrics'][found.prior[mine]]
            iou = arrays['out_max_overlaps'][found.prior[mine]]
            expected = metric / (metric.max() + 1e-7) * iou.max()
            torch.testing.assert_close(found.quality[mine], expected.clamp(min=1e-7))


@FORMS
def test_batch_task_aligned(on_grid):
    priors = form(golden.point_priors([8, 16, 32], 0.5), on_grid)
    for case, arrays in golden.cases('BatchTaskAlignedAssigner'):
        real = arrays['in_pad_flag'][..., 0] > 0
        gt = GroundTruth.from_lists(
            [b[keep] for b, keep in zip(arrays['in_gt_bboxes'], real)],
            [label[keep] for label, keep in zip(arrays['in_gt_labels'][..., 0], real)],
            [SIZE] * len(real),
        )
        predictions = Predictions(arrays['in_pred_bboxes'], arrays['in_pred_scores'])
        found = BatchTaskAlignedAssigner(**case['kwargs'])(priors, gt, predictions)
        assert torch.equal(found.positive_mask(), arrays['out_fg'])
        labels = found.dense_labels(gt, 8)
        assert torch.equal(labels[arrays['out_fg']], arrays['out_labels'].long()[arrays['out_fg']])
        assert torch.equal(found.boxes_of(gt), arrays['out_bboxes_fg'])
        scores = torch.zeros_like(arrays['out_scores'])
        scores[found.image, found.prior] = found.quality
        torch.testing.assert_close(scores, arrays['out_scores'], atol=1e-6, rtol=1e-5)
        # Of all priors first, and only then inside: another rule, other pairs.
        other = TaskAlignedAssigner(13)(priors, gt, predictions)
        assert other.num_pairs != found.num_pairs


def test_hungarian():
    costs = 0
    for case, arrays in golden.cases('HungarianAssigner'):
        assigner = HungarianAssigner(**case['kwargs'])
        gts, _ = golden.instances(arrays)
        logits = arrays['in_pred_logits']
        pred = InstanceData(bboxes=arrays['in_pred_bboxes'], scores=logits)
        result = assigner.assign(pred, gts, dict(img_shape=case['img_shape_hw']))
        assert torch.equal(result.gt_inds, arrays['out_gt_inds'].long())
        assert torch.equal(result.labels, arrays['out_labels'].long())
        scores = logits.softmax(-1) if case['config'] == 'detr' else logits.sigmoid()
        cost = assigner.cost(
            gt_of(arrays), Predictions(arrays['in_pred_bboxes'][None], scores[None])
        )
        if 'out_cost' in arrays:
            torch.testing.assert_close(cost[0], arrays['out_cost'], atol=1e-5, rtol=1e-5)
            costs += 1
    assert costs >= 8


def _heatmap_cases():
    with np.load(golden.DATA / 'pose_GaussianHeatmap.npz') as stored:
        for case in json.loads(str(stored['params']))['cases']:
            yield case, {name: stored[f'{case["id"]}/{name}'] for name in case['arrays']}


def _joints(case: dict, arrays: dict, stride: int = 4) -> tuple[Priors, GroundTruth]:
    width, height = case['kwargs']['heatmap_size']
    priors = MlvlPointGenerator([stride], 0.0)([(height, width)])
    seen = arrays['in_visible'] >= 0.5
    points = torch.from_numpy(arrays['in_keypoints'][seen]) * stride
    labels = torch.arange(seen.shape[1]).expand(seen.shape)[torch.from_numpy(seen)]
    gt = GroundTruth.from_lists(
        [torch.cat((points - 8, points + 8), dim=1)],
        [labels],
        [(height * stride, width * stride)],
        points=[points],
    )
    return priors, gt


def test_gaussian():
    """Equal to MMPose's heatmaps, but for its two flaws; see below."""
    checked = 0
    for case, arrays in _heatmap_cases():
        sigma, unbiased = case['kwargs']['sigma'], 'udp' in case['kwargs']['fn']
        if sigma == 3.5:
            continue  # 3 sigma is no whole number
        priors, gt = _joints(case, arrays)
        found = GaussianAssigner(sigma, unbiased=unbiased)(priors, gt)
        heat = found.dense_soft(gt, priors, 5)[0].t().numpy()
        expected = arrays['out_heatmaps'].reshape(5, -1)
        last_cell = (gt.points[0] / 4 >= torch.tensor([39.5, 31.5])).any(dim=1) & gt.valid[0]
        for joint in range(5):
            if not (last_cell & (gt.labels[0] == joint)).any():
                np.testing.assert_allclose(heat[joint], expected[joint], atol=1e-5)
                checked += 1
    assert checked == 36


def test_gaussian_beyond_the_last_half_cell():
    """At 39.6 of 40 cells MMPose's heatmap peaks off the map; ours has its positive."""
    shown = 0
    for case, arrays in _heatmap_cases():
        if case['seed'] != 1 or case['kwargs']['sigma'] != 2.0 or 'udp' in case['kwargs']['fn']:
            continue
        priors, gt = _joints(case, arrays)
        found = GaussianAssigner(2.0)(priors, gt)
        (index,) = (gt.points[0, :, 0] == np.float32(39.6) * 4).nonzero()
        pair = (found.gt == index).nonzero().item()
        x, y = priors.centers[found.prior[pair]].tolist()
        assert (x, y) == (39 * 4, 3 * 4) and found.quality[pair] == 1
        theirs = arrays['out_heatmaps'][gt.labels[0, index].item()]
        assert theirs[3, 39] == pytest.approx(np.exp(-1 / 8), abs=1e-5)
        shown += 1
    assert shown == 1


def test_gaussian_of_a_width_that_is_no_whole_number():
    """At sigma 3.5 MMPose's bump is displaced near the left border, and one cell longer."""
    case, arrays = next(
        (c, a)
        for c, a in _heatmap_cases()
        if c['kwargs']['sigma'] == 3.5 and c['seed'] == 0 and 'udp' not in c['kwargs']['fn']
    )
    priors, gt = _joints(case, arrays)
    alone = gt.labels[0].bincount(minlength=5)
    displaced = equal = 0
    for g in range(gt.max_gts):
        joint, (x, y) = int(gt.labels[0, g]), (gt.points[0, g] / 4 + 0.5).floor().int().tolist()
        theirs = arrays['out_heatmaps'][joint]
        if x < 10.5 and y >= 10.5 and theirs[y, x] < 1:
            displaced += int(theirs[y, x + 1] == 1)
            continue
        if alone[joint] == 1 and x >= 11 and y >= 11:
            one = GaussianAssigner(3.5)(priors, gt).dense_soft(gt, priors, 5)[0, :, joint]
            window = (slice(max(y - 10, 0), y + 11), slice(max(x - 10, 0), x + 11))
            np.testing.assert_allclose(one.view(32, 40)[window].numpy(), theirs[window], atol=1e-5)
            equal += 1
    assert displaced
