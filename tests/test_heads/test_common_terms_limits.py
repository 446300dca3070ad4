"""Loss terms at their limits: no gts, ignored priors, losses of others, what is refused."""

import pytest
import torch
from bare_terms import bce, grid_priors, ground_truth, inputs, pairs

from registry_losses.coders import DeltaXYWHBBoxCoder
from registry_losses.errors import ConfigError, PairingError
from registry_losses.heads import check_terms, evaluate_terms
from registry_losses.losses import CrossEntropyLoss, FocalLoss, GIoULoss, L1Loss
from registry_losses.structures import Assignment, HeadOutput, LossTerm


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
