"""Keypoints, or the corners of boxes, by their object keypoint similarity.

Shapes: K instances, V keypoints.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import ConfigError, ShapeError
from ..registry import MODELS
from .base import BaseLoss, need_tensor
from .checks import check_floating, check_numbers, check_same_shape, owner_name
from .reduction import in_float, like_pred, reduce_loss
from .targets import Target

# Per-keypoint constants of COCO's evaluation, nose first.
COCO_SIGMAS = (
    0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072,
    0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089,
)  # fmt: skip


def oks_loss(
    pred: Tensor,
    target: Tensor,
    area: Tensor,
    weight: Tensor | None = None,
    reduction: str = 'mean',
    avg_factor: Tensor | float | None = None,
    *,
    sigmas: Sequence[float] = COCO_SIGMAS,
    visible: Tensor | None = None,
) -> Tensor:
    """``1 - OKS`` with ``OKS = mean_v exp(-d^2 / (2 area (2 sigma_v)^2))``.

    Source: D. Maji et al., YOLO-Pose (2022), the OKS loss; the similarity is that of COCO's
    evaluation.

    Args:
        pred: ``(K, V, 2)`` keypoints in pixels.
        target: Its shape.
        area: ``(K,)`` area of each instance in square pixels.
        weight: ``(K,)``.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        avg_factor: What a mean divides by.
        sigmas: V per-keypoint constants above 0, or one for all.
        visible: ``(K, V)``, 0 for keypoints that are not labelled; an instance without
            any costs nothing.
    """
    check_floating('pred', pred)
    check_same_shape(pred, target)
    _check_sigmas('oks_loss', sigmas)
    if pred.dim() != 3 or pred.shape[-1] != 2 or len(sigmas) not in (1, pred.shape[1]):
        raise ShapeError(
            f'pred: expected ({pred.shape[0]}, {len(sigmas)}, 2), got {tuple(pred.shape)}; there '
            f'are {len(sigmas)} sigmas'
        )
    for name, part, shape in (('area', area, pred.shape[:1]), ('visible', visible, pred.shape[:2])):
        if part is None and name == 'visible':
            continue
        if not isinstance(part, Tensor) or part.shape != shape:
            got = tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__
            raise ShapeError(f'{name}: expected {tuple(shape)}, got {got}')
    pred, target, area = in_float(pred), like_pred(target, pred), like_pred(area, pred)
    # Not new_tensor, which torch.func of PyTorch 2.1 refuses.
    spreads = torch.tensor(sigmas, dtype=pred.dtype, device=pred.device)
    variance = (2 * spreads).square()
    spread = 2 * area[:, None].clamp(min=1) * variance  # (K, V)
    similarity = torch.exp(-(pred - target).square().sum(-1) / spread)
    if visible is None:
        oks = similarity.mean(1)
        loss = 1 - oks
    else:
        visible = like_pred(visible, pred).clamp(0, 1)
        count = visible.sum(1)
        oks = (similarity * visible).sum(1) / torch.where(count > 0, count, 1)
        loss = torch.where(count > 0, 1 - oks, 0)
    return reduce_loss(loss, reduction, weight, avg_factor)


def _check_sigmas(owner: object, sigmas: Sequence[float]) -> None:
    """Refuse constants that are not above 0."""
    if not isinstance(sigmas, Sequence) or isinstance(sigmas, str) or not sigmas:
        raise ConfigError(
            f'{owner_name(owner)}: sigmas: expected a list of numbers above 0, got {sigmas!r}'
        )
    for sigma in sigmas:
        check_numbers(owner, low=0, above=True, sigmas=sigma)


@MODELS.register_module()
class OKSLoss(BaseLoss):
    """:func:`oks_loss` of keypoints, or of boxes by their corners.

    Keypoints ``(K, V, 2)`` come with the instances' ``area``. Decoded boxes ``(K, 4)``
    are taken as two keypoints, their corners, and the target box gives the area: that is
    how a head with boxes, a joint's or an object's, uses this loss (kind ``box_decoded``).

    Deviation from OpenMMLab: MMPose's loss of this name reads its constants from a
    ``metainfo`` file and takes ``target_weight`` and ``areas`` in the third and fourth
    place; this one has the call of all other losses, the mean of what is visible, and
    ``area`` and ``visible`` by keyword.

    Plain formula: ``oks`` in ``testing/reference/losses/pose.py``.

    Args:
        sigmas: Per-keypoint constants for ``(K, V, 2)``; COCO's by default.
        corner_sigma: The constant of a box's corners.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: The loss is multiplied by it.
    """

    kinds = ('box_decoded',)

    def __init__(
        self,
        sigmas: Sequence[float] = COCO_SIGMAS,
        corner_sigma: float = 0.1,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(reduction, loss_weight)
        _check_sigmas(self, sigmas)
        check_numbers(self, low=0, above=True, corner_sigma=corner_sigma)
        self.sigmas = tuple(sigmas)
        self.corner_sigma = corner_sigma

    def forward(  # type: ignore[override]
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: Tensor | float | None = None,
        reduction_override: str | None = None,
        *,
        area: Tensor | None = None,
        visible: Tensor | None = None,
    ) -> Tensor:
        """The loss.

        Args:
            pred: ``(K, V, 2)`` keypoints or ``(K, 4)`` boxes, in pixels.
            target: Its shape.
            weight: ``(K,)``; ``(K, 4)`` for boxes, of which the mean counts.
            avg_factor: What a mean divides by.
            reduction_override: In place of ``reduction``.
            area: ``(K,)`` of the instances; needed for keypoints.
            visible: ``(K, V)`` which keypoints are labelled.
        """
        more = dict(area=area, visible=visible)
        return self.call(pred, target, weight, avg_factor, reduction_override, **more)

    def compute(
        self,
        pred: Tensor,
        target: Target,
        weight: Tensor | None,
        reduction: str,
        avg_factor: Tensor | float | None,
        area: Tensor | None = None,
        visible: Tensor | None = None,
    ) -> Tensor:
        """:func:`oks_loss`, of boxes as pairs of corners."""
        target = need_tensor(self, target)
        sigmas = self.sigmas
        if pred.dim() == 2 and pred.shape[1] == 4:
            check_same_shape(pred, target)
            sigmas = (self.corner_sigma,)
            if area is None:
                target = like_pred(target, pred)
                area = (target[:, 2:] - target[:, :2]).clamp(min=0).prod(dim=1)
            pred, target = pred.reshape(-1, 2, 2), target.reshape(-1, 2, 2)
        if area is None:
            raise ShapeError(
                f'area: expected ({pred.shape[0] if pred.dim() else "K"},), the areas of the '
                f'instances, beside keypoints, got None beside pred {tuple(pred.shape)}'
            )
        return self.loss_weight * oks_loss(
            pred,
            target,
            area,
            sigmas=sigmas,
            visible=visible,
            weight=weight,
            reduction=reduction,
            avg_factor=avg_factor,
        )
