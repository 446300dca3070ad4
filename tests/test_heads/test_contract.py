"""The contract on bare tensors: each hard case of the systems to come, by hand.

Every case states its priors, gts and pairs directly, and compares the scalar that a
LossTerm yields with one computed here from the definition.
"""

import math

import pytest
import torch
from torch import Tensor

from registry_losses.coders import DeltaXYWHBBoxCoder
from registry_losses.errors import ConfigError, PairingError
from registry_losses.heads import (
    LossInputs,
    RetinaHead,
    check_terms,
    evaluate_terms,
    row_losses,
)
from registry_losses.losses import (
    CrossEntropyLoss,
    FocalLoss,
    GaussianFocalLoss,
    GIoULoss,
    L1Loss,
    MSELoss,
    QualityFocalLoss,
    SmoothL1Loss,
)
from registry_losses.samplers import HardNegativeSampler
from registry_losses.structures import (
    Assignment,
    Branch,
    GroundTruth,
    HeadOutput,
    Level,
    LossTerm,
    Priors,
    SoftEntries,
)


def ints(*values) -> Tensor:
    return torch.tensor(values, dtype=torch.long)


def grid_priors(*shapes, stride=8.0, base=1) -> Priors:
    """Square priors of side ``stride`` on grids of the given (height, width)."""
    boxes, levels = [], []
    for height, width in shapes:
        levels.append(Level(height, width, (stride, stride), ((stride, stride),) * base))
        for y in range(height):
            for x in range(width):
                box = [x * stride, y * stride, (x + 1) * stride, (y + 1) * stride]
                boxes += [box] * base
    strides = torch.full((len(boxes), 2), stride)
    return Priors(torch.tensor(boxes), strides, tuple(levels))


def ground_truth(*images, size=(64, 64)) -> GroundTruth:
    """Each image a list of (box, label)."""
    boxes = [torch.tensor([b for b, _ in image]).reshape(-1, 4) for image in images]
    labels = [ints(*[label for _, label in image]) for image in images]
    return GroundTruth.from_lists(boxes, labels, [size] * len(images))


def pairs(*rows, batch, num_priors, ignored=(), **options) -> Assignment:
    """Each row (image, prior, gt)."""
    image, prior, gt = ints(*rows).reshape(-1, 3).unbind(1)
    mask = torch.zeros(batch, num_priors, dtype=torch.bool)
    for i, n in ignored:
        mask[i, n] = True
    return Assignment(image, prior, gt, mask, **options)


def inputs(output, priors, gt, assignment, num_classes=3, coder=None) -> LossInputs:
    return LossInputs(output, priors, gt, assignment, coder, num_classes)


def bce(logit: float, target: float) -> float:
    p = 1 / (1 + math.exp(-logit))
    return -(target * math.log(p) + (1 - target) * math.log(1 - p))


def test_ssd_mines_three_negatives_a_positive_in_each_image():
    torch.manual_seed(0)
    priors = grid_priors((2, 5))
    box = [0.0, 0, 8, 8]
    gt = ground_truth([(box, 1)], [(box, 0), (box, 2)])
    logits = torch.randn(2, 10, 4)
    term = LossTerm('loss_cls', CrossEntropyLoss(), kind='classification', branch='cls')
    assigned = pairs((0, 0, 0), (1, 0, 0), (1, 3, 1), batch=2, num_priors=10, ignored=[(0, 9)])
    step = inputs(HeadOutput.of({'cls': logits}), priors, gt, assigned)

    ranked = row_losses(term, step)
    sampler = HardNegativeSampler(neg_pos_ratio=3)
    sampled = sampler(assigned, priors, gt, row_loss=ranked)
    step = inputs(step.output, priors, gt, sampled)
    loss = evaluate_terms([term], step)['loss_cls']

    ce = -logits.log_softmax(-1)
    labels = {(0, 0): 1, (1, 0): 0, (1, 3): 2}
    total = 0.0
    for image, num_pos in ((0, 1), (1, 2)):
        total += sum(float(ce[i, n, c]) for (i, n), c in labels.items() if i == image)
        negatives = [
            float(ce[image, n, 3])
            for n in range(10)
            if (image, n) not in labels and (image, n) != (0, 9)
        ]
        total += sum(sorted(negatives, reverse=True)[: 3 * num_pos])
    assert loss.item() == pytest.approx(total / 3, rel=1e-5)


def test_yolov5_pairs_one_prior_with_two_gts_and_weights_levels():
    priors = grid_priors((2, 2), (1, 1))  # 4 + 1 priors
    gt = ground_truth([([0.0, 0, 8, 8], 0), ([0.0, 0, 8, 4], 2)])
    many = pairs((0, 0, 0), (0, 0, 1), (0, 4, 0), batch=1, num_priors=5)
    logits = torch.tensor([[[0.3, -0.2, 0.1], [0, 0, 0], [0, 0, 0], [0, 0, 0], [1.0, -1, 0.5]]])
    objectness = torch.tensor([[[0.5], [-1.0], [0.2], [0.0], [2.0]]])
    codes = torch.zeros(1, 5, 4)  # the prior's own box
    output = HeadOutput.of({'cls': logits, 'objectness': objectness, 'bbox': codes}, (4, 1))
    sigmoid = CrossEntropyLoss(use_sigmoid=True)
    weights = (4.0, 0.4)
    terms = [
        LossTerm(
            'loss_cls',
            sigmoid,
            kind='classification',
            branch='cls',
            rows='positives',
            normalizer='level_mean',
            times_batch=True,
        ),
        LossTerm(
            'loss_obj',
            sigmoid,
            kind='objectness',
            branch='objectness',
            normalizer='level_mean',
            level_weights=weights,
            target_quality='iou',
        ),
    ]
    losses = evaluate_terms(terms, inputs(output, priors, gt, many, coder=DeltaXYWHBBoxCoder()))

    first = [bce(v, t) for v, t in zip((0.3, -0.2, 0.1), (1, 0, 0))]
    second = [bce(v, t) for v, t in zip((0.3, -0.2, 0.1), (0, 0, 1))]
    third = [bce(v, t) for v, t in zip((1.0, -1, 0.5), (1, 0, 0))]
    want_cls = sum(first + second) / 6 + sum(third) / 3
    assert losses['loss_cls'].item() == pytest.approx(want_cls, rel=1e-5)

    # Prior 0 predicts [0, 0, 8, 8]: IoU 1 with gt 0 and 0.5 with gt 1, the larger wins.
    level0 = [bce(0.5, 1), bce(-1, 0), bce(0.2, 0), bce(0, 0)]
    want_obj = 4.0 * sum(level0) / 4 + 0.4 * bce(2.0, 1)
    assert losses['loss_obj'].item() == pytest.approx(want_obj, rel=1e-5)


def test_centernet_gaussian_targets_and_one_gt_a_cell_for_boxes():
    priors = grid_priors((1, 4))
    # Two gts of different class centred in cell 1: the smaller gets the box branch.
    gt = ground_truth([([4.0, 0, 20, 8], 0), ([10.0, 2, 14, 6], 1)])
    soft = SoftEntries(ints(0, 0), ints(0, 1), ints(0, 0), torch.tensor([0.6, 0.3]))
    assigned = pairs((0, 1, 0), (0, 1, 1), batch=1, num_priors=4, soft=soft)
    logits = torch.tensor([[[0.2, -0.4], [0.9, 0.1], [-1.0, 0.3], [0.0, -2.0]]])
    codes = torch.zeros(1, 4, 4)
    output = HeadOutput.of({'heatmap': logits, 'bbox': codes})
    terms = [
        LossTerm(
            'loss_heatmap',
            GaussianFocalLoss(use_sigmoid=True),
            kind='heatmap',
            branch='heatmap',
            normalizer='class_positives',
        ),
        LossTerm(
            'loss_bbox',
            L1Loss(),
            kind='box_encoded',
            branch='bbox',
            one_per_prior=True,
            columns=(2, 4),
            factor=0.5,
        ),
    ]
    losses = evaluate_terms(
        terms, inputs(output, priors, gt, assigned, 2, coder=DeltaXYWHBBoxCoder())
    )

    total = 0.0
    target = [[0.6, 0], [1, 1], [0, 0], [0, 0]]
    for row, row_target in zip(logits[0].tolist(), target):
        for x, t in zip(row, row_target):
            p = 1 / (1 + math.exp(-x))
            if t == 1:
                total -= (1 - p) ** 2 * math.log(p)
            else:
                total -= (1 - t) ** 4 * p**2 * math.log(1 - p)
    assert losses['loss_heatmap'].item() == pytest.approx(total / 2, rel=1e-4)
    # gt 1 is 4 x 4 against the 8 x 8 prior: |log(1/2)| twice, one pair, factor 0.5.
    assert losses['loss_bbox'].item() == pytest.approx(0.5 * 2 * math.log(2), rel=1e-5)


def test_task_aligned_quality_is_the_target_and_the_normaliser():
    priors = grid_priors((1, 3))
    gt = ground_truth([([0.0, 0, 8, 8], 1)])
    assigned = pairs((0, 0, 0), (0, 2, 0), batch=1, num_priors=3, quality=torch.tensor([0.9, 0.4]))
    logits = torch.tensor([[[0.1, 0.7], [-0.3, 0.2], [1.1, -0.6]]])
    term = LossTerm(
        'loss_cls',
        QualityFocalLoss(),
        kind='classification',
        branch='cls',
        normalizer='quality_sum',
    )
    loss = evaluate_terms([term], inputs(HeadOutput.of({'cls': logits}), priors, gt, assigned, 2))

    total = 0.0
    for row, q in zip(logits[0].tolist(), (0.9, 0.0, 0.4)):
        for c, x in enumerate(row):
            t = q if c == 1 else 0.0
            total += abs(t - 1 / (1 + math.exp(-x))) ** 2 * bce(x, t)
    # 1.3 is the sum of qualities.
    assert loss['loss_cls'].item() == pytest.approx(total / 1.3, rel=1e-5)


def test_yolov1_priors_share_one_class_row():
    cell_of_prior = ints(0, 0, 1, 1, 2, 2)
    base = grid_priors((1, 3), base=2)
    priors = Priors(
        base.boxes, base.strides, base.levels, class_row=cell_of_prior, num_class_rows=3
    )
    gt = ground_truth([([0.0, 0, 8, 8], 1), ([16.0, 0, 24, 8], 0)])
    # Both predictors of cell 0 take gt 0; predictor 5 takes gt 1.
    assigned = pairs((0, 0, 0), (0, 1, 0), (0, 5, 1), batch=1, num_priors=6)
    probs = torch.tensor([[[0.2, 0.5], [0.9, 0.9], [0.7, 0.1]]])  # (1, cells, C)
    term = LossTerm(
        'loss_cls',
        MSELoss(),
        kind='classification',
        branch='cls',
        rows='class_rows',
        normalizer='none',
    )
    step = inputs(HeadOutput.of({'cls': probs}, (6,)), priors, gt, assigned, 2)
    loss = evaluate_terms([term], step)['loss_cls']
    # Cells 0 and 2 hold an object, each counted once; cell 1 is not charged.
    want = (0.2**2 + (1 - 0.5) ** 2) + ((1 - 0.7) ** 2 + 0.1**2)
    assert loss.item() == pytest.approx(want, rel=1e-6)


def test_padded_proposals_without_a_grid():
    boxes = torch.tensor(
        [
            [[0.0, 0, 8, 8], [8, 8, 24, 24], [0, 0, 0, 0]],
            [[4.0, 4, 12, 12], [0, 0, 0, 0], [0, 0, 0, 0]],
        ]
    )
    valid = torch.tensor([[True, True, False], [True, False, False]])
    priors = Priors(boxes, torch.full((3, 2), 4.0), (), valid=valid)
    gt = ground_truth([([8.0, 8, 24, 24], 2)], [])
    assigned = pairs((0, 1, 0), batch=2, num_priors=3).replace(ignored=~valid)
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 4)
    deltas = torch.full((2, 3, 4), 0.1)
    terms = [
        LossTerm(
            'loss_cls',
            CrossEntropyLoss(),
            kind='classification',
            branch='cls',
            normalizer='sampled',
        ),
        LossTerm(
            'loss_bbox',
            SmoothL1Loss(beta=1.0),
            kind='box_encoded',
            branch='bbox',
            normalizer='sampled',
        ),
    ]
    output = HeadOutput.of({'cls': logits, 'bbox': deltas})
    losses = evaluate_terms(terms, inputs(output, priors, gt, assigned, coder=DeltaXYWHBBoxCoder()))
    ce = -logits.log_softmax(-1)
    want = float(ce[0, 0, 3] + ce[0, 1, 2] + ce[1, 0, 3]) / 3
    assert losses['loss_cls'].item() == pytest.approx(want, rel=1e-5)
    assert losses['loss_bbox'].item() == pytest.approx(4 * 0.5 * 0.1**2 / 3, rel=1e-5)


def test_stages_of_heatmaps_by_element():
    priors = grid_priors((1, 2))
    gt = ground_truth([([0.0, 0, 8, 8], 1)])
    soft = SoftEntries(ints(0), ints(1), ints(1), torch.tensor([0.5]))
    assigned = pairs((0, 0, 0), batch=1, num_priors=2, soft=soft)
    stages = torch.tensor([[[[0.1, 0.8], [0.2, 0.4]]], [[[0.0, 1.0], [0.0, 0.0]]]])
    term = LossTerm(
        'loss_heatmap', MSELoss(), kind='heatmap', branch='heatmap', normalizer='elements'
    )
    output = HeadOutput({'heatmap': Branch(stages)}, (2,))
    loss = evaluate_terms([term], inputs(output, priors, gt, assigned, 2))['loss_heatmap']
    first = (0.1**2 + 0.2**2 + 0.2**2 + 0.1**2) / 4
    second = (0.5**2) / 4
    assert loss.item() == pytest.approx(first + second, rel=1e-5)


def test_a_branch_on_some_levels_only_charges_those():
    priors = grid_priors((1, 2), (1, 1))
    gt = ground_truth([([0.0, 0, 8, 8], 0)])
    assigned = pairs((0, 0, 0), (0, 2, 0), batch=1, num_priors=3)
    codes = torch.full((1, 1, 4), 0.25)  # the second level only
    output = HeadOutput({'bbox': Branch(codes, levels=(1,))}, (2, 1))
    term = LossTerm(
        'loss_bbox', L1Loss(), kind='box_encoded', branch='bbox', normalizer='weight_sum'
    )
    loss = evaluate_terms([term], inputs(output, priors, gt, assigned, coder=DeltaXYWHBBoxCoder()))[
        'loss_bbox'
    ]
    # The gt is the box of prior 2, so the code to reach is 0.
    assert loss.item() == pytest.approx(4 * 0.25, rel=1e-5)


@pytest.mark.parametrize('num_images', [1, 3])
def test_without_any_gt_every_term_is_finite_and_reaches_its_branch(num_images):
    priors = grid_priors((2, 2))
    gt = ground_truth(*[[] for _ in range(num_images)])
    cls = torch.randn(num_images, 4, 3, requires_grad=True)
    box = torch.randn(num_images, 4, 4, requires_grad=True)
    ctr = torch.randn(num_images, 4, 1, requires_grad=True)
    output = HeadOutput.of({'cls': cls, 'bbox': box, 'centerness': ctr})
    sigmoid = CrossEntropyLoss(use_sigmoid=True)
    terms = [
        LossTerm('loss_cls', FocalLoss(), kind='classification', branch='cls'),
        LossTerm('loss_bbox', GIoULoss(), kind='box_decoded', branch='bbox'),
        LossTerm('loss_centerness', sigmoid, kind='centerness', branch='centerness'),
    ]
    empty = Assignment.empty(num_images, 4)
    losses = evaluate_terms(terms, inputs(output, priors, gt, empty, coder=DeltaXYWHBBoxCoder()))
    assert losses['loss_bbox'].item() == 0 and losses['loss_centerness'].item() == 0
    sum(losses.values()).backward()
    assert cls.grad.abs().sum() > 0
    assert box.grad is not None and box.grad.abs().sum() == 0
    assert ctr.grad is not None and ctr.grad.abs().sum() == 0


def test_a_prior_outside_its_gt_has_centerness_zero_and_box_weight_one():
    priors = grid_priors((1, 3))
    gt = ground_truth([([0.0, 0, 8, 8], 0)])
    assigned = pairs((0, 0, 0), (0, 2, 0), batch=1, num_priors=3)
    codes = torch.zeros(1, 3, 4)
    logits = torch.tensor([[[0.4], [0.0], [-0.7]]])
    output = HeadOutput.of({'bbox': codes, 'centerness': logits})
    sigmoid = CrossEntropyLoss(use_sigmoid=True)
    terms = [
        LossTerm('loss_centerness', sigmoid, kind='centerness', branch='centerness'),
        LossTerm(
            'loss_bbox',
            L1Loss(),
            kind='box_encoded',
            branch='bbox',
            normalizer='weight_sum',
            pair_weight='centerness',
        ),
    ]
    losses = evaluate_terms(terms, inputs(output, priors, gt, assigned, coder=DeltaXYWHBBoxCoder()))
    want = (bce(0.4, 1.0) + bce(-0.7, 0.0)) / 2
    assert losses['loss_centerness'].item() == pytest.approx(want, rel=1e-5)
    # Prior 2 is two widths to the right: delta x = -2, weight 1; both weights are 1.
    assert losses['loss_bbox'].item() == pytest.approx(2.0 / 2, rel=1e-5)


def test_ignored_priors_charge_nothing():
    priors = grid_priors((1, 3))
    gt = ground_truth([([0.0, 0, 8, 8], 0)])
    logits = torch.tensor([[[0.5], [9.0], [-0.5]]], requires_grad=True)
    assigned = pairs((0, 0, 0), batch=1, num_priors=3, ignored=[(0, 1)])
    sigmoid = CrossEntropyLoss(use_sigmoid=True)
    term = LossTerm('loss_cls', sigmoid, kind='classification', branch='cls')
    output = HeadOutput.of({'cls': logits})
    loss = evaluate_terms([term], inputs(output, priors, gt, assigned, 1))['loss_cls']
    loss.backward()
    assert loss.item() == pytest.approx(bce(0.5, 1) + bce(-0.5, 0), rel=1e-5)
    assert logits.grad[0, 1].item() == 0


class LabelLoss(torch.nn.Module):
    """A third party's loss that knows OpenMMLab's call and nothing of this package."""

    def forward(self, pred, target, weight=None, avg_factor=None, reduction_override=None):
        assert target.dtype == torch.long
        loss = torch.nn.functional.cross_entropy(pred, target, reduction='none')
        loss = loss if weight is None else loss * weight
        return loss.sum() / avg_factor


def test_a_label_loss_of_a_third_party_sees_labels_and_weights():
    priors = grid_priors((1, 3))
    gt = ground_truth([([0.0, 0, 8, 8], 1), ([0.0, 0, 4, 4], 0)])
    logits = torch.randn(1, 3, 3)
    # Two gts on prior 0: equal quality, so the smaller box gives the label.
    assigned = pairs((0, 0, 0), (0, 0, 1), batch=1, num_priors=3, ignored=[(0, 2)])
    term = LossTerm('loss_cls', LabelLoss(), kind='classification', branch='cls')
    output = HeadOutput.of({'cls': logits})
    loss = evaluate_terms([term], inputs(output, priors, gt, assigned, 2))['loss_cls']
    ce = -logits.log_softmax(-1)[0]
    assert loss.item() == pytest.approx(float(ce[0, 0] + ce[1, 2]) / 2, rel=1e-5)


def test_a_loss_of_the_wrong_kind_is_refused():
    term = LossTerm('loss_cls', GIoULoss(), kind='classification', branch='cls')
    with pytest.raises(PairingError, match=r'GIoULoss serves box_decoded.*classification'):
        check_terms([term])


def test_a_term_with_an_unknown_normaliser_is_refused():
    with pytest.raises(ConfigError, match="normalizer='positive' is none of"):
        LossTerm('loss_cls', FocalLoss(), 'classification', 'cls', normalizer='positive')


def test_allowed_border_counts_from_the_content_of_each_image():
    """Anchors that cross the border take no part, also where no image is padded."""
    head = RetinaHead(
        2,
        4,
        feat_channels=4,
        prior_generator=dict(type='AnchorGenerator', strides=[8], ratios=[1.0], scales=[2.0]),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
        loss_cls=dict(type='FocalLoss'),
        loss_bbox=dict(type='L1Loss'),
        train_cfg=dict(
            assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4),
            allowed_border=0,
        ),
    ).train()
    sizes = [(32, 32), (32, 16)]
    gt = GroundTruth.from_lists(
        [torch.tensor([[4.0, 4, 20, 20]])] * 2, [torch.zeros(1).long()] * 2, sizes
    )
    priors = head.loss_inputs(head([torch.zeros(2, 4, 4, 4)]), gt).priors
    boxes = priors.boxes
    for image, (height, width) in enumerate(sizes):
        inside = (boxes[:, :2] >= 0).all(1) & (boxes[:, 2] < width) & (boxes[:, 3] < height)
        assert torch.equal(priors.valid[image], inside)
        assert image or 0 < inside.sum() < len(inside)
