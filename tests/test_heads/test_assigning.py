"""Assign and sample without a dense head, and pairing rules of any head that states its parts."""

from typing import Any

import pytest
import torch
from torch import Tensor

from registry_losses.assigners import MaxIoUAssigner, PAAAssigner, SimOTAAssigner
from registry_losses.coders import DeltaXYWHBBoxCoder
from registry_losses.errors import PairingError
from registry_losses.heads import LossInputs, Pairing, assign_and_sample, check_pairing
from registry_losses.losses import CrossEntropyLoss, L1Loss
from registry_losses.registry import TASK_UTILS
from registry_losses.samplers import HardNegativeSampler, PseudoSampler, RandomSampler
from registry_losses.structures import (
    Assignment,
    GroundTruth,
    HeadOutput,
    LossTerm,
    Predictions,
    Priors,
)

BOXES = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30], [40, 40, 50, 50]])
TERMS = (
    LossTerm('loss_cls', CrossEntropyLoss(use_sigmoid=True), kind='classification', branch='cls'),
    LossTerm('loss_bbox', L1Loss(), kind='box_encoded', branch='bbox'),
)


def inputs_of(logits: Tensor | None = None) -> LossInputs:
    """Four proposals without a grid, two of them on the one gt; one class."""
    priors = Priors(BOXES[None], torch.ones(4, 2))
    gt = GroundTruth.from_lists([BOXES[:1]], [torch.zeros(1, dtype=torch.long)], [(64, 64)])
    output = HeadOutput({}, priors.level_sizes)
    if logits is not None:
        output = HeadOutput.of({'cls': logits.reshape(1, 4, 1), 'bbox': torch.zeros(1, 4, 4)})
    unassigned = Assignment.empty(1, 4)
    return LossInputs(output, priors, gt, unassigned, DeltaXYWHBBoxCoder(), 1)


def forbidden() -> Predictions:
    raise AssertionError('nobody asked for predictions')


def assign(assigner: Any, sampler: Any, inputs: LossInputs, predictions=forbidden) -> Assignment:
    return assign_and_sample(
        inputs, assigner=assigner, sampler=sampler, terms=TERMS, predictions=predictions, step=3
    )


def test_a_static_assigner_needs_no_output_of_the_head():
    found = assign(MaxIoUAssigner(pos_iou_thr=0.5, neg_iou_thr=0.5), PseudoSampler(), inputs_of())
    assert found.prior.tolist() == [0, 1]  # IoU 1 and 9 / 11
    assert not found.ignored.any()


def test_predictions_are_made_once_and_only_where_asked_for():
    calls = []

    def predictions() -> Predictions:
        calls.append(1)
        return Predictions(BOXES[None], torch.full((1, 4, 1), 0.5))

    assigner = SimOTAAssigner()
    found = assign(assigner, PseudoSampler(), inputs_of(), predictions)
    assert calls == [1] and 0 in found.prior.tolist()


def test_pair_losses_choose_among_the_candidates():
    # Both candidates lie on the gt; the loss of the second is far larger.
    logits = torch.tensor([4.0, -4.0, -4.0, -4.0])
    found = assign(PAAAssigner(), PseudoSampler(), inputs_of(logits))
    assert found.prior.tolist() == [0]


def test_row_losses_rank_the_negatives():
    # Two negatives; the sampler keeps one a positive, the one with the larger loss.
    logits = torch.tensor([4.0, -4.0, -3.0, 2.0])
    matcher = MaxIoUAssigner(pos_iou_thr=0.95, neg_iou_thr=0.5)
    found = assign(matcher, HardNegativeSampler(neg_pos_ratio=1), inputs_of(logits))
    assert found.prior.tolist() == [0]
    assert found.ignored.tolist() == [[False, True, True, False]]


def test_ids_key_the_choice_of_a_sampler():
    matcher = MaxIoUAssigner(pos_iou_thr=0.95, neg_iou_thr=0.9)
    sampler = RandomSampler(num=2, pos_fraction=0.5)
    choices = []
    for ids in ([7], [8], [9], [10], [7]):
        found = assign_and_sample(
            inputs_of(),
            assigner=matcher,
            sampler=sampler,
            terms=TERMS,
            predictions=forbidden,
            image_ids=ids,
            step=3,
        )
        choices.append(found.ignored.tolist())
    assert choices[0] == choices[-1]
    assert any(choice != choices[0] for choice in choices)


def parts(**changes: Any) -> Pairing:
    given: dict[str, Any] = dict(
        head='RoIHead',
        terms=TERMS,
        assigner=MaxIoUAssigner(pos_iou_thr=0.5, neg_iou_thr=0.5),
        sampler=PseudoSampler(),
        coder=DeltaXYWHBBoxCoder(),
        num_classes=1,
        channels={'cls': 1, 'bbox': 4},
        on_grid=False,
    )
    return Pairing(**{**given, **changes})


def test_proposals_pair_with_assigners_that_read_boxes():
    check_pairing(parts())


@pytest.mark.parametrize('name', ['YOLOV5Assigner', 'CenterNetAssigner', 'GaussianAssigner'])
def test_grid_assigners_are_refused_on_proposals(name):
    assigner = TASK_UTILS.build(dict(type=name))
    with pytest.raises(PairingError, match=f'{name} needs priors on a grid.*RoIHead'):
        check_pairing(parts(assigner=assigner))
    check_pairing(parts(assigner=assigner, on_grid=True))


def test_other_rules_hold_for_any_head():
    with pytest.raises(PairingError, match='RoIHead has no bbox_coder'):
        check_pairing(parts(coder=None))
    with pytest.raises(PairingError, match='charges no loss on negatives'):
        check_pairing(parts(terms=TERMS[1:], sampler=HardNegativeSampler()))


def test_a_head_that_states_its_parts_is_checked_by_itself():
    class Head:
        def pairing(self) -> Pairing:
            return parts(coder=None)

    with pytest.raises(PairingError, match='RoIHead has no bbox_coder'):
        check_pairing(Head())
