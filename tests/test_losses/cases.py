"""The table of losses: one row each, from which all suites over losses read.

A new loss is a row here, and a file of its own with values worked out by hand.

Shapes: R rows (class vectors or boxes), C classes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import registry_losses.losses as losses
from registry_losses.structures import ClassTargets
from registry_losses.testing.reference.losses import boxes, classes, differences

# What a suite gives a loss: logits or probabilities of independent classes, logits of a
# softmax, boxes, differences, bins, maps, fields.
FAMILIES = ('sigmoid', 'probability', 'softmax', 'box', 'difference', 'bins', 'map', 'field')


@dataclass(frozen=True)
class Case:
    """One loss in one form.

    Args:
        make: Its constructor.
        family: Of what it is; see ``FAMILIES``.
        function: Its functional form.
        plain: Its formula in the reference room: of logits and dense values, of logits and
            labels (softmax), of predictions and targets (else); with the loss's defaults.
        settings: Options, other than the defaults, that class and function both take.
        forms: The forms of a class target it takes.
        sized: Whether it has to know the number of classes.
        by_row: Whether it sums over the classes.
        fused: Whether it has a closed form in the fused pass.
        counted: Whether a weight says only whether, or how often, a row counts.
        constant_part: Whether a part of it is a constant to gradients, so that differences
            of values are no judge of them.
        counts: Whether it changes by what it has seen in training; the suites stop that.
    """

    make: Callable[..., nn.Module]
    family: str
    function: Callable[..., Tensor]
    plain: Callable[..., Tensor] | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    forms: tuple[str, ...] = ('sparse', 'labels', 'dense')
    sized: bool = False
    by_row: bool = False
    fused: bool = False
    counted: bool = False
    constant_part: bool = False
    counts: bool = False

    def build(self, num_classes: int = 5, **options: Any) -> nn.Module:
        """The loss, with options besides those of the row."""
        if self.sized:
            options['num_classes'] = num_classes
        loss = self.make(**options)
        return loss.eval() if self.counts else loss

    @property
    def cls(self) -> type:
        """Its class."""
        return self.make.func if isinstance(self.make, partial) else self.make


def _d(plain: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda pred, target: plain(pred - target)


_gaussian = partial(losses.GaussianFocalLoss, use_sigmoid=True)
_seesaw = dict(
    family='softmax', function=losses.seesaw_loss, sized=True, forms=('sparse', 'labels')
)

CASES = {
    # independent classes
    'focal': Case(
        losses.FocalLoss, 'sigmoid', losses.sigmoid_focal_loss, classes.focal,
        settings=dict(gamma=1.5, alpha=0.4), fused=True,
    ),
    'focal_1.5': Case(
        partial(losses.FocalLoss, gamma=1.5), 'sigmoid',
        partial(losses.sigmoid_focal_loss, gamma=1.5), partial(classes.focal, gamma=1.5),
        fused=True,
    ),
    'focal_0.5': Case(
        partial(losses.FocalLoss, gamma=0.5), 'sigmoid',
        partial(losses.sigmoid_focal_loss, gamma=0.5), partial(classes.focal, gamma=0.5),
        fused=True,
    ),
    'bce': Case(
        partial(losses.CrossEntropyLoss, use_sigmoid=True), 'sigmoid',
        partial(losses.cross_entropy, use_sigmoid=True), classes.binary_cross_entropy,
        settings=dict(label_smoothing=0.1, ignore_index=2), fused=True,
    ),
    'quality': Case(
        losses.QualityFocalLoss, 'sigmoid', losses.quality_focal_loss, classes.quality_focal,
        settings=dict(beta=1.5), by_row=True, fused=True,
    ),
    'varifocal': Case(
        losses.VarifocalLoss, 'sigmoid', losses.varifocal_loss, classes.varifocal,
        settings=dict(alpha=0.5), fused=True,
    ),
    'gaussian': Case(
        _gaussian, 'sigmoid', partial(losses.gaussian_focal_loss, use_sigmoid=True),
        classes.gaussian_focal, settings=dict(gamma=3.0), fused=True,
    ),
    'poly': Case(
        losses.PolyLoss, 'sigmoid', losses.poly_loss, classes.poly,
        settings=dict(epsilon=2.0, gamma=1.0), fused=True,
    ),
    'asymmetric': Case(
        losses.AsymmetricLoss, 'sigmoid', losses.asymmetric_loss, classes.asymmetric,
        settings=dict(gamma_pos=1.0, clip=0.1),
    ),
    'matchability_aware': Case(
        losses.MatchabilityAwareLoss, 'sigmoid', losses.matchability_aware_loss,
        classes.matchability_aware, settings=dict(gamma=2.5), fused=True,
    ),
    'equalization_v2': Case(
        losses.EQLV2Loss, 'sigmoid', losses.equalization_loss_v2,
        lambda x, v: classes.equalization_v2(x, v, torch.full(x.shape[1:], 100.0)),
        sized=True, by_row=True, counts=True,
    ),
    'equalized_focal': Case(
        losses.EqualizedFocalLoss, 'sigmoid', losses.equalized_focal_loss,
        lambda x, v: classes.equalized_focal(x, v, torch.ones(x.shape[1:])),
        sized=True, counts=True,
    ),
    'ghmc': Case(
        losses.GHMC, 'sigmoid', losses.ghmc_loss, classes.ghmc, settings=dict(bins=5), counted=True
    ),
    'focal_of_p': Case(
        partial(losses.FocalLoss, activated=True), 'probability',
        partial(losses.sigmoid_focal_loss, activated=True), classes.focal,
    ),
    'quality_of_p': Case(
        partial(losses.QualityFocalLoss, activated=True), 'probability',
        partial(losses.quality_focal_loss, activated=True), classes.quality_focal, by_row=True,
    ),
    'gaussian_of_p': Case(
        partial(losses.GaussianFocalLoss, use_sigmoid=False), 'probability',
        partial(losses.gaussian_focal_loss, use_sigmoid=False), classes.gaussian_focal,
    ),
    # one class a row
    'cross_entropy': Case(
        losses.CrossEntropyLoss, 'softmax', losses.cross_entropy, classes.cross_entropy,
        settings=dict(label_smoothing=0.1, ignore_index=2),
    ),
    'softmax_focal': Case(
        partial(losses.FocalLoss, activation='softmax'), 'softmax', losses.softmax_focal_loss,
        classes.softmax_focal, settings=dict(gamma=1.5),
    ),
    'softmax_poly': Case(
        partial(losses.PolyLoss, use_sigmoid=False), 'softmax',
        partial(losses.poly_loss, use_sigmoid=False), classes.softmax_poly,
        settings=dict(epsilon=2.0),
    ),
    'seesaw': Case(losses.SeesawLoss, **_seesaw),
    # one loss a class
    'dice': Case(losses.DiceLoss, 'sigmoid', losses.dice_loss, counted=True),
    'dice_of_p': Case(
        partial(losses.DiceLoss, activate=False), 'probability', losses.dice_loss, classes.dice,
        counted=True,
    ),
    'mse_of_classes': Case(losses.MSELoss, 'sigmoid', losses.mse_loss, _d(differences.mse)),
    # decoded boxes
    'iou_linear': Case(
        partial(losses.IoULoss, mode='linear'), 'box', partial(losses.iou_loss, mode='linear'),
        partial(boxes.iou, mode='linear'),
    ),
    'iou_square': Case(
        partial(losses.IoULoss, mode='square'), 'box', partial(losses.iou_loss, mode='square'),
        partial(boxes.iou, mode='square'),
    ),
    'iou_log': Case(losses.IoULoss, 'box', losses.iou_loss, boxes.iou),
    'giou': Case(losses.GIoULoss, 'box', losses.giou_loss, boxes.giou),
    'diou': Case(losses.DIoULoss, 'box', losses.diou_loss, boxes.diou),
    'ciou': Case(losses.CIoULoss, 'box', losses.ciou_loss, boxes.ciou, constant_part=True),
    'extended_iou': Case(
        losses.EIoULoss, 'box', losses.eiou_loss, boxes.extended_iou,
        settings=dict(smooth_point=0.3),
    ),
    'efficient_iou': Case(
        losses.EfficientIoULoss, 'box', losses.efficient_iou_loss, boxes.efficient_iou
    ),
    'siou': Case(
        losses.SIoULoss, 'box', losses.siou_loss, partial(boxes.siou, sign=1.0),
        settings=dict(neg_gamma=True),
    ),
    'nwd': Case(
        losses.NWDLoss, 'box', losses.nwd_loss, boxes.nwd, settings=dict(constant=8.0, mode='log')
    ),
    'bounded_iou': Case(
        losses.BoundedIoULoss, 'box', losses.bounded_iou_loss, boxes.bounded_iou,
        settings=dict(beta=0.3),
    ),
    'yolo_ciou': Case(
        losses.YOLOIoULoss, 'box', partial(losses.yolo_iou_loss, bbox_format='xyxy'),
        partial(boxes.ciou, threshold=None), constant_part=True,
    ),
    'yolo_siou': Case(
        partial(losses.YOLOIoULoss, iou_mode='siou'), 'box',
        partial(losses.yolo_iou_loss, bbox_format='xyxy', iou_mode='siou'), boxes.siou,
    ),
    'alpha_iou': Case(
        losses.AlphaIoULoss, 'box', losses.alpha_iou_loss, boxes.alpha_iou,
        settings=dict(alpha=2.0, mode='giou'), constant_part=True,
    ),
    'mpdiou': Case(
        losses.MPDIoULoss, 'box', losses.mpdiou_loss, boxes.mpdiou,
        settings=dict(image_size=(20, 30)),
    ),
    'inner_iou': Case(
        losses.InnerIoULoss, 'box', losses.inner_iou_loss, boxes.inner_iou,
        settings=dict(ratio=1.2, mode='diou'), constant_part=True,
    ),
    'inner_diou': Case(
        partial(losses.InnerIoULoss, mode='diou'), 'box',
        partial(losses.inner_iou_loss, mode='diou'),
    ),
    'shape_iou': Case(
        losses.ShapeIoULoss, 'box', losses.shape_iou_loss, boxes.shape_iou,
        settings=dict(scale=1.0),
    ),
    'focal_eiou': Case(
        losses.FocalEIoULoss, 'box', losses.focal_eiou_loss, boxes.focal_eiou,
        settings=dict(gamma=1.0), constant_part=True,
    ),
    'powerful_iou': Case(
        losses.PowerfulIoULoss, 'box', losses.powerful_iou_loss, boxes.powerful_iou,
        settings=dict(focus=1.1), constant_part=True,
    ),
    'powerful_iou_v1': Case(
        partial(losses.PowerfulIoULoss, version='v1'), 'box',
        partial(losses.powerful_iou_loss, version='v1'),
    ),
    'wise_iou': Case(
        losses.WiseIoULoss, 'box', losses.wise_iou_loss, boxes.wise_iou,
        settings=dict(alpha=1.6, delta=4.0), constant_part=True, counts=True,
    ),
    'wise_iou_v1': Case(
        partial(losses.WiseIoULoss, version='v1'), 'box',
        partial(losses.wise_iou_loss, version='v1'), constant_part=True,
    ),
    'oks_of_boxes': Case(losses.OKSLoss, 'box', losses.oks_loss),
    # differences
    'l1': Case(losses.L1Loss, 'difference', losses.l1_loss, _d(differences.l1)),
    'mse': Case(losses.MSELoss, 'difference', losses.mse_loss, _d(differences.mse)),
    'l2': Case(
        losses.L2Loss, 'difference', losses.l2_loss, differences.l2,
        settings=dict(pos_margin=0.1), counted=True,
    ),
    'smooth_l1': Case(
        losses.SmoothL1Loss, 'difference', losses.smooth_l1_loss, _d(differences.smooth_l1),
        settings=dict(beta=0.11),
    ),
    'balanced_l1': Case(
        losses.BalancedL1Loss, 'difference', losses.balanced_l1_loss, _d(differences.balanced_l1),
        settings=dict(alpha=0.4, beta=0.3),
    ),
    'ghmr': Case(
        losses.GHMR, 'difference', losses.ghmr_loss, _d(differences.ghmr),
        settings=dict(mu=0.1, bins=5), counted=True,
    ),
    # distributions, maps, fields
    'distribution_focal': Case(
        losses.DistributionFocalLoss, 'bins', losses.distribution_focal_loss,
        classes.distribution_focal,
    ),
    'gaussian_of_maps': Case(
        losses.GaussianFocalLoss, 'map', losses.gaussian_focal_loss, forms=('dense',)
    ),
    'keypoint_mse': Case(losses.KeypointMSELoss, 'map', losses.mse_loss, _d(differences.mse)),
    'adaptive_wing': Case(
        losses.AdaptiveWingLoss, 'map', losses.adaptive_wing_loss, differences.adaptive_wing,
        settings=dict(theta=0.3),
    ),
    'keypoint_ohkm': Case(
        partial(losses.KeypointOHKMMSELoss, topk=2), 'map',
        partial(losses.keypoint_ohkm_mse_loss, topk=2), partial(differences.ohkm, topk=2),
    ),
    'paf': Case(losses.PAFLoss, 'field', losses.paf_loss, _d(differences.mse)),
}  # fmt: skip

# Losses whose calls are like no other's, with suites of their own.
OWN_CALLS = {'AssociativeEmbeddingLoss', 'YOLOV1Loss', 'YOLOV3Loss'}


def names(*families: str, **wanted: bool) -> list[str]:
    """The rows of these families (of all, by default) whose fields are as wanted."""
    return [
        name
        for name, case in CASES.items()
        if (not families or case.family in families)
        and all(getattr(case, key) == value for key, value in wanted.items())
    ]


def random(*shape: int, seed: int = 0) -> Tensor:
    """Numbers from 0 to 1."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def random_boxes(rows: int, seed: int) -> Tensor:
    """``(R, 4)`` xyxy of sides from 2 to 10, most of which meet."""
    low = random(rows, 2, seed=seed) * 10
    return torch.cat((low, low + 2 + random(rows, 2, seed=seed + 1) * 8), dim=1)


def example(name: str, labels: Tensor, c: int) -> tuple[Tensor, dict[str, Any]]:
    """A prediction of the row's family, and its target in each form.

    Args:
        name: Of the row.
        labels: ``(R,)`` of which c is background and negative ones take no part.
        c: The number of classes.
    """
    case, r = CASES[name], len(labels)
    sparse = ClassTargets.from_labels(labels, c)
    logits = random(r, c + 1) * 4 - 2
    if case.family in ('sigmoid', 'probability'):
        pred = logits[:, :c] if case.family == 'sigmoid' else logits[:, :c].sigmoid()
        targets = {'sparse': sparse, 'labels': labels, 'dense': sparse.dense()}
    elif case.family == 'softmax':
        pred, targets = logits, {'sparse': sparse, 'labels': labels, 'dense': logits.softmax(1)}
    elif case.family in ('box', 'difference'):
        return random_boxes(r, 0), {'dense': random_boxes(r, 5)}
    elif case.family == 'bins':
        return logits, {'dense': random(r, seed=3) * c}
    else:
        channels = 3 if case.family == 'map' else 4
        pred = random(2, channels, 4, 5)
        target = random(2, channels, 4, 5, seed=1)
        return pred, {'dense': target.round() if name == 'gaussian_of_maps' else target}
    return pred, {form: target for form, target in targets.items() if form in case.forms}
