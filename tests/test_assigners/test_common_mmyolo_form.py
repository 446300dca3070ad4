"""MMYOLO's positional call of the assigners that bear its names.

Shapes: B images, N priors, M gts, C classes.
"""

import pytest
import torch

from registry_losses.assigners import (
    BatchATSSAssigner,
    BatchDynamicSoftLabelAssigner,
    BatchTaskAlignedAssigner,
)
from registry_losses.errors import ConfigError, ShapeError
from registry_losses.ops import bbox_overlaps
from registry_losses.structures import Predictions

from . import golden, scenes

KEYS = {'assigned_labels', 'assigned_bboxes', 'assigned_scores', 'fg_mask_pre_prior'}


def points_of(priors) -> torch.Tensor:
    return torch.cat((priors.centers, priors.strides), dim=1)


def test_task_aligned():
    """The stored outputs of MMYOLO 0.6.0, by its own call."""
    points = points_of(golden.point_priors([8, 16, 32], 0.5))
    count = 0
    for case, arrays in golden.cases('BatchTaskAlignedAssigner'):
        inputs = [arrays[f'in_{name}'] for name in ('pred_bboxes', 'pred_scores')]
        gts = [arrays[f'in_{name}'] for name in ('gt_labels', 'gt_bboxes', 'pad_flag')]
        found = BatchTaskAlignedAssigner(**case['kwargs'])(*inputs, points, *gts)
        fg = arrays['out_fg']
        assert set(found) == KEYS and torch.equal(found['fg_mask_pre_prior'], fg)
        assert torch.equal(found['assigned_labels'][fg], arrays['out_labels'].long()[fg])
        assert torch.equal(found['assigned_bboxes'][fg], arrays['out_bboxes_fg'])
        scores = found['assigned_scores'].sum(dim=-1)
        torch.testing.assert_close(scores, arrays['out_scores'], atol=1e-6, rtol=1e-5)
        count += int(fg.sum())
    assert count > 50


def test_atss():
    priors = golden.point_priors([8, 16, 32], 0.5, box_scale=5)
    for case, arrays in golden.cases('BatchATSSAssigner'):
        assigner = BatchATSSAssigner(**{'num_classes': 8, **case['kwargs']})
        gts = [arrays[f'in_{name}'] for name in ('gt_labels', 'gt_bboxes', 'pad_flag')]
        predicted = scenes.random_predictions(0, priors, len(gts[0])).boxes
        found = assigner(predicted, points_of(priors), list(priors.level_sizes), *gts)
        fg = arrays['out_fg'].bool()
        assert set(found) == KEYS and torch.equal(found['fg_mask_pre_prior'], fg)
        assert torch.equal(found['assigned_labels'], arrays['out_labels'].long())
        assert torch.equal(found['assigned_bboxes'][fg], arrays['out_bboxes_fg'])
        iou = bbox_overlaps(predicted[fg], arrays['out_bboxes_fg'], is_aligned=True)
        torch.testing.assert_close(found['assigned_scores'][fg].sum(dim=1), iou)
        plain = assigner(None, points_of(priors), list(priors.level_sizes), *gts)
        assert (plain['assigned_scores'][fg].sum(dim=1) == 1).all()
    with pytest.raises(ConfigError, match='num_classes'):
        BatchATSSAssigner()(None, points_of(priors), list(priors.level_sizes), *gts)
    with pytest.raises(ShapeError, match='num_level_priors'):
        assigner(None, points_of(priors), [3], *gts)


def padded(seed: int) -> tuple:
    """Odd gts of two images as MMYOLO pads them; labels, boxes, flags."""
    gt = scenes.random_gt(seed, 2, ties=False)
    flags = gt.valid[..., None].float()
    boxes = torch.where(gt.valid[..., None], gt.boxes, 0)
    return gt, (gt.labels[..., None].float(), boxes, flags)


def test_dynamic_soft_label():
    """Its call takes logits; the answer is that of the batched call on probabilities."""
    priors, assigner = scenes.points(), BatchDynamicSoftLabelAssigner(scenes.CLASSES)
    pairs = 0
    for seed in range(6):
        gt, gts = padded(seed)
        predictions = scenes.random_predictions(seed, priors, 2)
        logits = torch.logit(predictions.scores)
        found = assigner(predictions.boxes, logits, points_of(priors), *gts)
        same = Predictions(predictions.boxes, logits.sigmoid())
        expected = assigner(priors, gt, same)
        labels = torch.full((2, priors.num_priors), scenes.CLASSES)
        labels[expected.image, expected.prior] = expected.labels_of(gt)
        assert torch.equal(found['assigned_labels'], labels)
        assert (found['assigned_labels_weights'] == 1).all()
        at = expected.image, expected.prior
        assert torch.equal(found['assigned_bboxes'][at], expected.boxes_of(gt))
        torch.testing.assert_close(found['assign_metrics'][at], expected.quality)
        negative = labels == scenes.CLASSES
        assert not found['assigned_bboxes'][negative].any()
        assert not found['assign_metrics'][negative].any()
        pairs += expected.num_pairs
    assert pairs


@pytest.mark.parametrize('m', [0, 2])
def test_no_gts(m):
    """No padding at all, or nothing but padding: every prior is negative."""
    priors = scenes.points()
    n, points = priors.num_priors, points_of(priors)
    gts = torch.zeros(2, m, 1), torch.zeros(2, m, 4), torch.zeros(2, m, 1)
    boxes, scores = torch.rand(2, n, 4), torch.rand(2, n, 3)
    for found in (
        BatchTaskAlignedAssigner(3)(boxes, scores, points, *gts),
        BatchATSSAssigner(3)(boxes, points, list(priors.level_sizes), *gts),
    ):
        assert found['assigned_labels'].shape == (2, n) and not found['assigned_scores'].any()
        assert found['assigned_scores'].shape == (2, n, 3)
        assert not found['fg_mask_pre_prior'].any()
    found = BatchDynamicSoftLabelAssigner(3)(boxes, scores, points, *gts)
    assert (found['assigned_labels'] == 3).all() and not found['assign_metrics'].any()


def test_wrong_tensors_are_named():
    points, gts = torch.zeros(5, 4), (torch.zeros(1, 2), torch.zeros(1, 2, 4), torch.zeros(1, 2, 1))
    with pytest.raises(ShapeError, match='gt_labels'):
        BatchTaskAlignedAssigner(3)(torch.zeros(1, 5, 4), torch.zeros(1, 5, 3), points, *gts)
    with pytest.raises(ConfigError, match='rotated'):
        BatchDynamicSoftLabelAssigner(3)(torch.zeros(1, 5, 5), torch.zeros(1, 5, 3), points, *gts)


def test_atss_takes_its_arguments_in_the_order_of_mmyolo():
    assigner = BatchATSSAssigner(80, dict(type='mmdet.BboxOverlaps2D'), 7)
    assert (assigner.num_classes, assigner.topk) == (80, 7)
    with pytest.warns(DeprecationWarning, match='third argument'):
        assert BatchATSSAssigner(80, 7).topk == 7
