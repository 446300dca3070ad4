"""PAA: the IoU branch and its weights, score voting, OpenMMLab's form of the config."""

import math

import pytest
import torch
from mmengine.structures import InstanceData

from registry_losses.assigners import MaxIoUAssigner, PAAAssigner
from registry_losses.heads import LossInputs, evaluate_terms
from registry_losses.heads.score_voting import vote
from registry_losses.registry import MODELS
from registry_losses.structures import Assignment, GroundTruth, HeadOutput


def head(**options):
    node = dict(
        type='PAAHead',
        num_classes=2,
        in_channels=8,
        feat_channels=8,
        stacked_convs=0,
        prior_generator=dict(type='AnchorGenerator', strides=[8], ratios=[1.0], scales=[2]),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
        loss_cls=dict(type='FocalLoss'),
        loss_bbox=dict(type='GIoULoss'),
        loss_centerness=dict(type='CrossEntropyLoss', use_sigmoid=True),
    )
    return MODELS.build({**node, **options})


def test_the_third_branch_learns_the_iou_and_boxes_are_weighted_by_it():
    built = head()
    priors = built.prior_generator([(1, 1)])  # one anchor, from -8 to 8
    gt = GroundTruth.from_lists([torch.tensor([[-8.0, -8, 8, 0]])], [torch.tensor([1])], [(64, 64)])
    zero = torch.zeros(1, dtype=torch.long)
    pairs = Assignment(zero, zero, zero, torch.zeros(1, 1, dtype=torch.bool))
    maps = dict(
        cls=torch.zeros(1, 1, 2), bbox=torch.zeros(1, 1, 4), centerness=torch.zeros(1, 1, 1)
    )
    inputs = LossInputs(HeadOutput.of(maps), priors, gt, pairs, built.bbox_coder, 2)
    losses = evaluate_terms(built.loss_terms, inputs)
    assert losses['loss_iou'].item() == pytest.approx(math.log(2))  # target 1/2, probability 1/2
    assert losses['loss_bbox'].item() == pytest.approx(0.5)  # 1 - GIoU, whatever the one weight
    both = Assignment(
        torch.zeros(2, dtype=torch.long), torch.tensor([0, 1]), torch.zeros(2, dtype=torch.long),
        torch.zeros(1, 2, dtype=torch.bool),
    )  # fmt: skip
    priors = built.prior_generator([(1, 2)])  # the second: from 0 to 16; IoU 64 / 320
    maps = {k: v.repeat(1, 2, 1) for k, v in maps.items()}
    inputs = LossInputs(HeadOutput.of(maps), priors, gt, both, built.bbox_coder, 2)
    loss = evaluate_terms(built.loss_terms, inputs)['loss_bbox'].item()
    giou = 64 / 320 - (384 - 320) / 384
    assert loss == pytest.approx((0.5 * 0.5 + 0.2 * (1 - giou)) / 0.7, rel=1e-5)


def test_votes_by_hand():
    kept = InstanceData(
        bboxes=torch.tensor([[0.0, 0, 10, 10], [50, 50, 60, 60], [0, 0, 0, 0]]),
        scores=torch.tensor([0.9, 0.8, 0.7]),
        labels=torch.tensor([1, 0, 1]),
    )
    boxes = torch.tensor(
        [[0.0, 0, 10, 10], [0, 0, 10, 20], [0, 0, 10, 12], [50, 50, 60, 60], [0, 0, 0, 0],
         [0, 0, 10, 11]]
    )  # fmt: skip
    scores = torch.tensor([0.9, 0.5, 0.5, 0.8, 0.7, -1.0])  # the last place is empty
    labels = torch.tensor([1, 1, 0, 0, 1, 1])
    found = vote(kept, boxes, scores, labels)
    assert found.labels.tolist() == [0, 1, 1]
    weight = 0.5 * math.exp(-((1 - 0.5) ** 2) / 0.025)
    bottom = (0.9 * 10 + weight * 20) / (0.9 + weight)
    assert found.bboxes[0].tolist() == [50, 50, 60, 60]
    assert found.bboxes[1].tolist() == pytest.approx([0, 0, 10, bottom])
    assert found.bboxes[2].tolist() == [0, 0, 0, 0]  # overlaps nothing
    nothing = InstanceData(
        bboxes=torch.zeros(0, 4), scores=torch.zeros(0), labels=torch.zeros(0, dtype=torch.long)
    )
    assert len(vote(nothing, boxes, scores, labels)) == 0


def test_openmmlab_names_the_candidates_assigner_in_train_cfg():
    node = dict(type='MaxIoUAssigner', pos_iou_thr=0.1, neg_iou_thr=0.1, min_pos_iou=0)
    built = head(topk=5, train_cfg=dict(assigner=node))
    assert isinstance(built.assigner, PAAAssigner) and built.assigner.topk == 5
    assert isinstance(built.assigner.candidates, MaxIoUAssigner)
    assert isinstance(head(train_cfg=dict(assigner=node)).assigner, MaxIoUAssigner)
    own = head(topk=5, train_cfg=dict(assigner=dict(type='PAAAssigner', topk=3)))
    assert own.assigner.topk == 3


def test_without_voting_detections_are_best_first():
    boxes = torch.tensor([[[0.0, 0, 8, 8], [20, 20, 30, 30]]])
    found = (boxes, torch.tensor([[0.5, 0.9]]), torch.tensor([[0, 1]]))
    kept = [InstanceData(bboxes=boxes[0].flip(0), scores=torch.tensor([0.9, 0.5]),
                         labels=torch.tensor([1, 0]))]  # fmt: skip
    assert head(score_voting=False).after_nms(kept, found)[0].labels.tolist() == [1, 0]
    assert head().after_nms(kept, found)[0].labels.tolist() == [0, 1]
