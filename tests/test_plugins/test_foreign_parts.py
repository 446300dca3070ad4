"""Parts of other projects in our heads: taken by their convention, or refused with a remedy.

Small classes stand in for mmdet's; `make mmdet-matrix` tries the real ones.
"""

from types import SimpleNamespace

import pytest
import torch
from mmengine.registry import TASK_UTILS as ROOT
from mmengine.registry import Registry
from mmengine.structures import InstanceData
from torch import nn

from registry_losses.assigners import (
    ATSSAssigner,
    DynamicSoftLabelAssigner,
    MaxIoUAssigner,
    wrap_assigner,
)
from registry_losses.errors import PairingError
from registry_losses.heads import RetinaHead
from registry_losses.heads.terms.evaluation import call_loss
from registry_losses.registry import TASK_UTILS
from registry_losses.samplers import PseudoSampler, RandomSampler
from registry_losses.structures import GroundTruth, Predictions, Priors


def head(**changes):
    anchors = dict(type='AnchorGenerator', strides=[8], ratios=[1.0], scales=[4.0])
    parts = dict(
        prior_generator=anchors,
        bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
        loss_cls=dict(type='FocalLoss'),
        loss_bbox=dict(type='L1Loss'),
        train_cfg=dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4)),
    )
    return RetinaHead(3, 4, feat_channels=4, stacked_convs=1, **{**parts, **changes})


def test_a_type_named_with_a_scope_brings_that_scope():
    """Its own defaults are built from its own registry."""
    other = Registry('task util', parent=ROOT, scope='elsewhere')
    try:

        @other.register_module()
        class Ruler:
            pass

        @other.register_module()
        class Measuring:
            def __init__(self, ruler=None) -> None:
                self.ruler = ROOT.build(ruler or dict(type='Ruler'))

        built = TASK_UTILS.build(dict(type='elsewhere.Measuring'))
        assert type(built.ruler) is Ruler
    finally:
        ROOT.children.pop('elsewhere')


def foreign(name, **attributes):
    """An object of a class of mmdet's."""
    return type(name, (), dict(attributes, __module__='mmdet.models'))()


@pytest.mark.parametrize(
    ('key', 'name'),
    [('bbox_coder', 'DeltaXYWHBBoxCoder'), ('prior_generator', 'AnchorGenerator')],
)
def test_coders_and_generators_of_another_project_are_refused_by_name(key, name):
    with pytest.raises(
        PairingError, match=rf"mmdet\.models\.{name} .* type='registry_losses\.{name}'"
    ):
        head(**{key: foreign(name)})


def test_samplers_of_another_project_are_refused_by_name():
    cfg = dict(assigner=MaxIoUAssigner(0.5, 0.4), sampler=foreign('RandomSampler'))
    with pytest.raises(PairingError, match=r"type='registry_losses\.RandomSampler'"):
        head(train_cfg=cfg)
    with pytest.raises(PairingError, match='derive it from registry_losses'):
        head(train_cfg=dict(cfg, sampler=foreign('TheirOwnSampler')))


class Elementwise(nn.Module):
    """As OpenMMLab's losses of values: one weight an element."""

    def forward(self, pred, target, weight=None, avg_factor=None, reduction_override=None):
        assert weight is None or weight.shape == pred.shape
        loss = (pred - target).abs()
        return ((loss if weight is None else loss * weight).sum() / (avg_factor or 1)).mean()


def test_foreign_losses_of_values_get_a_weight_an_element():
    pred, target = torch.rand(5, 4), torch.rand(5, 4)
    weight = torch.rand(5)
    got = call_loss(Elementwise(), pred, target, weight, avg_factor=2)
    torch.testing.assert_close(got, ((pred - target).abs() * weight[:, None]).sum() / 2)


def test_a_loss_called_another_way_is_refused_with_the_one_to_use():
    class GHMC(nn.Module):
        use_sigmoid = True

        def forward(self, pred, target, label_weight):
            raise AssertionError

    with pytest.raises(PairingError, match=r"use type='registry_losses\.GHMC'"):
        head(loss_cls=GHMC())


# The conventions of mmdet's assigners -----------------------------------------------------


def scene():
    boxes = torch.tensor([[0.0, 0, 8, 8], [8, 0, 16, 8], [0, 8, 8, 16]])
    priors = Priors(boxes, torch.full((3, 2), 8.0))
    gt = GroundTruth.from_lists([boxes[:1] + 1], [torch.tensor([1])], [(16, 16)])
    scores = torch.tensor([[[0.2, 0.7], [0.1, 0.3], [0.5, 0.5]]])
    return priors, gt, Predictions(boxes=boxes[None], scores=scores)


def answering(name, seen, **result):
    def assign(self, pred_instances, gt_instances, gt_instances_ignore=None, **kwargs):
        seen.update(priors=pred_instances.priors, scores=pred_instances.scores)
        return SimpleNamespace(gt_inds=torch.tensor([1, 1, 0]), **result)

    return wrap_assigner(foreign(name, assign=assign))


def test_points_and_logits_for_those_that_expect_them():
    priors, gt, predictions = scene()
    seen: dict = {}
    found = answering('DynamicSoftLabelAssigner', seen, max_overlaps=torch.tensor([0.9, 0.4, 0.0]))(
        priors, gt, predictions
    )
    assert torch.equal(seen['priors'], torch.cat((priors.centers, priors.strides), dim=1))
    torch.testing.assert_close(seen['scores'].sigmoid(), predictions.scores[0])
    torch.testing.assert_close(found.quality, torch.tensor([0.9, 0.4]))
    found = answering('MaxIoUAssigner', seen)(priors, gt, predictions)
    assert torch.equal(seen['priors'], priors.boxes)
    assert torch.equal(seen['scores'], predictions.scores[0])
    assert found.quality.tolist() == [1, 1]


def test_alignment_becomes_the_class_target():
    """The best metric of a gt stands for its largest overlap."""
    priors, gt, predictions = scene()
    found = answering(
        'TaskAlignedAssigner',
        {},
        max_overlaps=torch.tensor([0.6, 0.8, 0.0]),
        assign_metrics=torch.tensor([0.2, 0.1, 0.0]),
    )(priors, gt, predictions)
    torch.testing.assert_close(found.quality, torch.tensor([0.8, 0.4]), rtol=1e-5, atol=1e-6)


def test_assigners_that_no_head_here_can_serve_are_refused():
    with pytest.raises(PairingError, match=r"decoder_priors.*type='registry_losses\.UniformAss"):
        wrap_assigner(foreign('UniformAssigner', assign=lambda self: None))


# Ours in OpenMMLab's heads ----------------------------------------------------------------


def instances():
    boxes = torch.tensor([[0.0, 0, 8, 8], [8, 0, 16, 8]])
    gts = InstanceData(bboxes=boxes[:1] + 1, labels=torch.tensor([0]))
    return InstanceData(priors=boxes), gts


def test_samplers_take_the_head_that_builds_them():
    priors, gts = instances()
    sampler = RandomSampler(2, 0.5, context=object())
    assert PseudoSampler(context=object()).needs == frozenset()
    result = sampler.sample(MaxIoUAssigner(0.5, 0.5).assign(priors, gts), priors, gts)
    assert result.priors.shape == (2, 4) and result.all_priors.shape == (3, 4)


def test_assigners_say_what_a_head_does_not_hand_over():
    priors, gts = instances()
    with pytest.raises(PairingError, match='numbers of priors of each level'):
        ATSSAssigner(topk=1).assign(priors, gts, None)
    with pytest.raises(PairingError, match='looks at what the head predicts'):
        DynamicSoftLabelAssigner().assign(priors, gts)


def test_the_proposals_own_scores_are_no_class_scores():
    """A RoI head of mmdet hands over one score a proposal."""
    priors, gts = instances()
    priors.scores = torch.tensor([0.3, 0.9])
    found = MaxIoUAssigner(0.5, 0.5).assign(priors, gts)
    assert found.gt_inds.tolist() == [1, 0]
