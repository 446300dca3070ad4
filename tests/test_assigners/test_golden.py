"""Equal to the reference outputs, prior for prior and pair for pair."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from registry_losses.assigners import (
    ATSSAssigner,
    BatchATSSAssigner,
    GridAssigner,
    MaxIoUAssigner,
    PointAssigner,
    UniformAssigner,
    YOLOV5Assigner,
)
from registry_losses.structures import GroundTruth, Priors

from . import golden


def bare(priors: Priors) -> torch.Tensor:
    return priors.boxes


def check(result, arrays: dict, *, overlaps: bool = True) -> None:
    assert result.num_gts == len(arrays['in_gt_bboxes'])
    assert torch.equal(result.gt_inds, arrays['out_gt_inds'])
    assert torch.equal(result.labels, arrays['out_labels'])
    if overlaps and 'out_max_overlaps' in arrays:
        assert torch.equal(result.max_overlaps, arrays['out_max_overlaps'])


@pytest.mark.parametrize('form', [bare, lambda priors: priors], ids=['bare boxes', 'grid'])
def test_max_iou(form):
    count = 0
    for case, arrays in golden.cases('MaxIoUAssigner'):
        priors = form(golden.max_iou_priors(case['config']))
        assigner = MaxIoUAssigner(**case['kwargs'])
        result = assigner.assign(SimpleNamespace(priors=priors), *golden.instances(arrays))
        check(result, arrays)
        count += 1
    assert count == 44


@pytest.mark.parametrize('form', [bare, lambda priors: priors], ids=['bare boxes', 'grid'])
def test_atss(form):
    priors = form(golden.square_priors())
    for case, arrays in golden.cases('ATSSAssigner'):
        assigner = ATSSAssigner(**case['kwargs'])
        pred = SimpleNamespace(priors=priors)
        check(assigner.assign(pred, case['num_level'], *golden.instances(arrays)), arrays)


def test_batch_atss():
    priors = golden.point_priors([8, 16, 32], 0.5, box_scale=5)
    differs = 0
    for case, arrays in golden.cases('BatchATSSAssigner'):
        boxes, real = arrays['in_gt_bboxes'], arrays['in_pad_flag'][..., 0] > 0
        labels = arrays['in_gt_labels'][..., 0].long()
        gt = GroundTruth.from_lists(
            [b[keep] for b, keep in zip(boxes, real)],
            [label[keep] for label, keep in zip(labels, real)],
            [(golden.HEIGHT, golden.WIDTH)] * len(boxes),
        )
        found = BatchATSSAssigner(**case['kwargs'])(priors, gt)
        assert torch.equal(found.positive_mask(), arrays['out_fg'].bool())
        assert torch.equal(found.dense_labels(gt, 8), arrays['out_labels'].long())
        assert torch.equal(found.boxes_of(gt), arrays['out_bboxes_fg'])
        # The paper's rule differs where a prior goes to a gt it is no positive of.
        plain = ATSSAssigner(topk=9)(priors, gt)
        differs += int((plain.gt != found.gt).sum())
    assert differs == 3


@pytest.mark.parametrize('on_grid', [False, True], ids=['flags', 'grid'])
def test_grid(on_grid):
    priors = golden.yolo_priors()
    for case, arrays in golden.cases('GridAssigner'):
        pred = SimpleNamespace(priors=priors)
        if not on_grid:
            flags = arrays['in_responsible']
            pred = SimpleNamespace(priors=priors.boxes, responsible_flags=flags)
        gts, _ = golden.instances(arrays)
        check(GridAssigner(**case['kwargs']).assign(pred, gts), arrays)


def test_uniform():
    priors = golden.shared('UniformAssigner', 'yolof')
    for case, arrays in golden.cases('UniformAssigner'):
        pred = SimpleNamespace(priors=priors, decoder_priors=arrays['in_pred_bboxes'])
        gts, _ = golden.instances(arrays)
        result = UniformAssigner(**case['kwargs']).assign(pred, gts)
        check(result, arrays)
        for ours, theirs in (
            ('pos_idx', 'out_pos_idx'),
            ('pos_predicted_boxes', 'out_pos_pred'),
            ('target_boxes', 'out_pos_target'),
        ):
            assert torch.equal(result.get_extra_property(ours), arrays[theirs])


@pytest.mark.parametrize('on_grid', [False, True], ids=['bare points', 'grid'])
def test_point(on_grid):
    grid = golden.point_priors([8, 16, 32, 64, 128], 0.0)
    rows = torch.cat((grid.centers, grid.strides[:, :1]), dim=1)
    assert torch.equal(rows, golden.shared('PointAssigner', 'pos3'))
    for case, arrays in golden.cases('PointAssigner'):
        pred = SimpleNamespace(priors=grid if on_grid else rows)
        gts, _ = golden.instances(arrays)
        result = PointAssigner(**case['kwargs']).assign(pred, gts)
        check(result, arrays)
        assert result.max_overlaps is None


def test_yolov5():
    """As multisets of (image, anchor, y, x, label, target): gts may be identical."""
    priors = golden.yolo_priors(coarse_first=False)
    for case, arrays in golden.cases('YOLOv5Targets'):
        rows, batch = arrays['in_targets'], len(case['gts'])
        own = [rows[rows[:, 0] == i] for i in range(batch)]
        gt = GroundTruth.from_lists(
            [r[:, 2:] for r in own], [r[:, 1] for r in own], [tuple(case['input_hw'])] * batch
        )
        found = YOLOV5Assigner(case['prior_match_thr'], case['near_neighbor_thr'])(priors, gt)
        count = 0
        for i in range(len(priors.levels)):
            ours = _yolov5_rows(priors, gt, found, i)
            parts = ('img_prior_y_x', 'labels', 'bbox_targets')
            theirs = [arrays[f'out_l{i}_{name}'].double() for name in parts]
            theirs = torch.cat([t.reshape(len(theirs[0]), -1) for t in theirs], dim=1)
            count += len(theirs)
            assert ours.shape == theirs.shape
            np.testing.assert_allclose(_sorted(ours), _sorted(theirs), atol=1e-4)
        assert found.num_pairs == count


def _yolov5_rows(priors, gt, found, i: int) -> torch.Tensor:
    level, start = priors.levels[i], priors.level_starts[i]
    mine = (found.prior >= start) & (found.prior < start + level.num_priors)
    local, box = found.prior[mine] - start, found.boxes_of(gt)[mine].double()
    cell, anchor = local // level.num_base, local % level.num_base
    y, x = cell // level.width, cell % level.width
    center = (box[:, :2] + box[:, 2:]) / 2 / level.stride[0] - torch.stack((x, y), dim=1)
    size = (box[:, 2:] - box[:, :2]) / level.stride[0]
    head = torch.stack((found.image[mine], anchor, y, x, found.labels_of(gt)[mine]), dim=1)
    return torch.cat((head.double(), center, size), dim=1)


def _sorted(rows: torch.Tensor) -> np.ndarray:
    values = rows.numpy()
    return values[np.lexsort(np.round(values, 1).T[::-1])]
