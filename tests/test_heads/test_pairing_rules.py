"""What is refused when a head is built, and what swapped losses and samplers change."""

import copy
from pathlib import Path

import pytest
import torch
from pairings import CLASSES, SCENE, Subject, build, head_config, node
from torch import nn

from registry_losses.commands.pairing_page import describe_pairings
from registry_losses.errors import ConfigError, PairingError
from registry_losses.heads import row_losses
from registry_losses.losses import BaseLoss


def changed(head: str, **losses) -> dict:
    config = head_config(head)
    config['bbox_head'].update(losses)
    return config


@pytest.mark.parametrize(
    ('head', 'losses', 'message'),
    [
        ('ssd', dict(loss_cls=node('GIoULoss')), 'loss_cls: GIoULoss serves box_decoded'),
        ('yolov1', dict(loss_bbox=node('FocalLoss')), 'compares no boxes'),
        ('atss', dict(loss_centerness=node('GaussianFocalLoss')), 'loss_centerness: Gaussian'),
        ('fcos', dict(loss_bbox=node('DistributionFocalLoss')), 'predicts one number a side'),
        ('yolov4', dict(loss_bbox=node('CrossEntropyLoss', use_sigmoid=True)), 'YOLOBBoxCoder'),
        (
            'yolov5',
            dict(loss_cls=node('SeesawLoss', num_classes=80)),
            'num_classes=80, but YOLOV5Head has 4',
        ),
        (
            'fcos',
            dict(loss_cls=node('FocalLoss', class_weight=[1.0] * 80)),
            'loss_cls: FocalLoss does not fit FCOSHead',
        ),
        ('retinanet', dict(loss_cls=node('GaussianFocalLoss', use_sigmoid=False)), 'logits'),
        ('ssd', dict(bbox_coder=None), 'SSDHead has no bbox_coder'),
        ('retinanet', dict(bbox_coder=None), 'RetinaHead has no bbox_coder'),
        ('ssd', dict(loss_bbox=node('L1Loss', reduction='none')), 'check its reduction'),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(head, losses, message):
    with pytest.raises(PairingError, match=message):
        build(changed(head, **losses))


@pytest.mark.parametrize(
    ('head', 'losses', 'message'),
    [
        ('yolov3', dict(loss_xy=None), 'loss_xy: this term of the head needs a loss'),
        ('retinanet', dict(loss_bbox=None), 'loss_bbox: this term of the head needs a loss'),
        ('yolov5', dict(obj_level_weights=(4.0, 1.0)), '2 level_weights for 3 levels'),
        ('fcos', dict(strides=[8, 16]), 'FCOSHead.strides: 2'),
    ],
)
def test_what_is_missing_is_refused(head, losses, message):
    with pytest.raises(ConfigError, match=message):
        build(changed(head, **losses))


def test_a_sampler_by_loss_needs_a_loss_on_negatives():
    config = head_config('retinanet')
    config['train_cfg']['sampler'] = node('HardNegativeSampler')
    config['bbox_head']['loss_terms'] = dict(loss_cls=dict(rows='positives'))
    with pytest.raises(PairingError, match='charges no loss on negatives'):
        build(config)


def test_a_third_party_loss_is_tried_in_its_own_form():
    class Positional(nn.Module):
        """Without kinds, target format or activation: int labels."""

        def forward(self, pred, target, weight=None, avg_factor=None, reduction_override=None):
            assert target.dtype == torch.long and target.shape == pred.shape[:1]
            hot = nn.functional.one_hot(target, pred.shape[1] + 1)[:, :-1]
            loss = nn.functional.binary_cross_entropy_with_logits(
                pred, hot.float(), reduction='none'
            )
            return (loss * weight[:, None]).sum() / avg_factor

    class Unfit(BaseLoss):
        kinds = ('classification',)
        target_format = 'labels'

        def compute(self, pred, target, *rest):
            return pred[:, 100].sum()

    model = build(changed('retinanet', loss_cls=Positional()))
    assert SCENE.losses(model)['loss_cls'] > 0
    with pytest.raises(PairingError, match='loss_cls: Unfit does not fit RetinaHead: index 100'):
        build(changed('retinanet', loss_cls=Unfit()))


def test_a_trial_and_a_ranking_leave_a_loss_as_it_was():
    config = changed('ssd', loss_cls=node('SeesawLoss'))
    model = build(config)
    counts = model.bbox_head.loss_cls.cum_samples
    assert counts.sum() == 0
    found = Subject.of(model).loss_inputs(SCENE)  # hard negatives: losses of all rows
    assert counts.sum() == 0
    kept = (~found.assignment.ignored).sum()
    SCENE.losses(model)
    assert counts.sum() == kept  # each row of the step once


def test_a_loss_without_rows_ranks_them_by_their_gradient():
    model = build(changed('ssd', loss_cls=node('DiceLoss')))
    found = Subject.of(model).loss_inputs(SCENE)
    term = model.bbox_head.loss_terms[0]
    ranks = row_losses(term, found)
    logits = found.output['cls'].detach().clone().requires_grad_()
    targets = found.assignment.class_targets(found.gt, found.priors, CLASSES)
    flat = logits.reshape(-1, CLASSES)
    p = flat.sigmoid() * (~targets.ignored)[:, None]
    target = targets.dense()
    overlap = 2 * (p * target).sum(0) / ((p * p).sum(0) + (target * target).sum(0) + 2e-3)
    (1 - overlap).sum().backward()
    wanted = logits.grad.norm(dim=-1)
    assert torch.allclose(ranks, wanted, atol=1e-7, rtol=1e-4)
    assert ranks.std() > 0


def test_objectness_is_ranked_by_prior_where_priors_share_their_classes():
    model = build(head_config('yolov1'))
    found = Subject.of(model).loss_inputs(SCENE)
    term = next(t for t in model.bbox_head.loss_terms if t.kind == 'objectness')
    ranks = row_losses(term, found)
    raw = found.output['objectness'].detach().squeeze(-1)
    negative = ~(found.assignment.positive_mask() | found.assignment.ignored)
    # Squared error against 0, half as much for priors that are in no pair.
    assert torch.allclose(ranks[negative], 0.5 * raw[negative] ** 2)


@pytest.mark.parametrize('head', ['yolov1', 'yolov3', 'yolov5'])
def test_a_softmax_objectness_has_two_outputs(head):
    place = 'loss_obj' if head == 'yolov5' else 'loss_conf'
    plain = build(head_config(head))
    model = build(changed(head, **{place: node('CrossEntropyLoss')}))
    assert model.bbox_head.objectness_channels == 2
    output = Subject.of(model).loss_inputs(SCENE).output
    assert output['objectness'].shape[-1] == 2
    expected = output['objectness'].softmax(-1)[..., 0].detach()
    assert torch.equal(model.bbox_head.reader.factors(output), expected)
    more = sum(p.numel() for p in model.bbox_head.parameters())
    assert more > sum(p.numel() for p in plain.bbox_head.parameters())
    if head != 'yolov1':  # begins with few objects, as with a sigmoid
        assert expected.mean() < 0.1


@pytest.mark.parametrize('head', ['fcos', 'atss'])
def test_without_centreness_scores_are_of_classes_alone(head):
    model = build(changed(head, loss_centerness=None))
    losses = SCENE.losses(model)
    assert list(losses) == ['loss_cls', 'loss_bbox']
    assert not [name for name, _ in model.named_parameters() if 'centerness' in name]
    model.eval()
    found = Subject.of(model).loss_inputs(SCENE)
    scores = model.bbox_head.reader.predictions(found.output, found.priors).scores
    assert torch.equal(scores, found.output['cls'].detach().sigmoid())


@pytest.mark.parametrize('head', ['retinanet', 'centernet', 'yolov1', 'yolov5'])
def test_nothing_found_is_an_empty_result(head):
    config = head_config(head)
    config['test_cfg'] = dict(config['test_cfg'], score_thr=1.0)
    model = build(config).eval()
    with torch.no_grad():
        for sample in model(SCENE.inputs, copy.deepcopy(SCENE.samples), mode='predict'):
            found = sample.pred_instances
            assert found.bboxes.shape == (0, 4)
            assert found.scores.shape == found.labels.shape == (0,)


@pytest.mark.parametrize('head', ['fcos', 'centernet'])
def test_boxes_begin_at_those_of_their_priors(head):
    model = build(head_config(head))
    found = Subject.of(model).loss_inputs(SCENE)
    boxes = model.bbox_head.reader.boxes(found.output, found.priors)
    sides, prior_index = boxes[..., 2:] - boxes[..., :2], found.priors.boxes
    ratio = sides / (prior_index[:, 2:] - prior_index[:, :2])
    assert (ratio.mean(dim=(0, 1)) - 1).abs().max() < 0.1
    assert ratio.min() > 0.5


def test_the_page_of_pairings_is_up_to_date():
    page = Path(__file__).parents[2] / 'docs' / 'pairing.md'
    assert page.read_text(encoding='utf-8') == describe_pairings(), 'run `make docs`'


@pytest.mark.parametrize('head', ['retinanet', 'fcos', 'atss', 'ssd', 'centernet'])
@pytest.mark.parametrize('loss', ['FocalLoss-sigmoid', 'FocalLoss-softmax', 'MSELoss'])
def test_objects_start_rare_whatever_the_activation(head, loss):
    name, _, activation = loss.partition('-')
    options = dict(activation=activation) if activation else {}
    config = changed(head, loss_cls=node(name, **options))
    config['train_cfg']['sampler'] = node('PseudoSampler')
    model = build(config)
    with torch.no_grad():
        for parameter in model.bbox_head.parameters():
            if parameter.dim() > 1:
                parameter.zero_()  # what is left is the biases
    scores = model.bbox_head.reader.scores(Subject.of(model).loss_inputs(SCENE).output)
    prior = 0.1 if head == 'centernet' else 0.01
    expected = prior / CLASSES if activation == 'softmax' else prior
    assert torch.allclose(scores, torch.full_like(scores, expected), rtol=1e-3)


class Boxes(nn.Module):
    """A box loss of another package, which declares no kind."""

    def forward(self, pred, target, weight=None, avg_factor=None, reduction_override=None):
        weight = torch.ones_like(pred[:, 0]) if weight is None else weight
        return ((pred - target).abs().sum(1) * weight).sum() / avg_factor


def test_a_foreign_box_loss_says_its_kind_or_is_refused():
    for name, kind in (('L1Loss', 'box_encoded'), ('GIoULoss', 'box_decoded')):
        loss = type(name, (Boxes,), {})()
        terms = build(changed('retinanet', loss_bbox=loss)).bbox_head.loss_terms
        assert {term.name: term.kind for term in terms}['loss_bbox'] == kind
    with pytest.raises(PairingError, match=r'loss_bbox: Boxes does not say whether.*kinds ='):
        build(changed('retinanet', loss_bbox=Boxes()))
    stated = dict(loss_bbox=dict(kind='box_decoded'))
    terms = build(changed('retinanet', loss_bbox=Boxes(), loss_terms=stated)).bbox_head.loss_terms
    assert {term.name: term.kind for term in terms}['loss_bbox'] == 'box_decoded'


def test_a_box_loss_below_zero_is_refused():
    class BelowIoU(Boxes):
        def forward(self, *args, **options):
            return -super().forward(*args, **options)

    with pytest.raises(PairingError, match=r'loss_bbox: BelowIoU .* no loss of boxes is below 0'):
        build(changed('retinanet', loss_bbox=BelowIoU()))
