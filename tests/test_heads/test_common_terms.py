"""The loss terms of every system on bare tensors: each hard case by hand.

Every case states its priors, gts and pairs directly, and compares the scalar that a
LossTerm yields with one computed here from the definition.
"""

import math

import pytest
import torch
from bare_terms import bce, grid_priors, ground_truth, inputs, ints, pairs

from registry_losses.coders import DeltaXYWHBBoxCoder
from registry_losses.heads import evaluate_terms, row_losses
from registry_losses.losses import (
    CrossEntropyLoss,
    GaussianFocalLoss,
    L1Loss,
    MSELoss,
    QualityFocalLoss,
    SmoothL1Loss,
)
from registry_losses.samplers import HardNegativeSampler
from registry_losses.structures import Branch, HeadOutput, LossTerm, Priors, SoftEntries


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
