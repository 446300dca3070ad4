"""Losses of keypoint heatmaps.

Shapes: B images, K keypoints, H, W map; or R rows (pixels) of C classes.
"""

from torch import Tensor

from ..errors import ShapeError
from ..registry import MODELS
from ..structures import ClassTargets
from .base import BaseLoss
from .checks import (
    check_counts,
    check_flags,
    check_floating,
    check_numbers,
    check_same_shape,
    check_weight,
)
from .l1 import mse_loss
from .reduction import in_float, like_pred, reduce_loss
from .targets import Target, row_weight


def weighted_heatmap(
    loss: Tensor, target_weights: Tensor | None, mask: Tensor | None
) -> Tensor | None:
    """The product of keypoint weights and a mask, in a shape that multiplies ``loss``.

    Args:
        loss: ``(B, K, H, W)`` or ``(R, C)``.
        target_weights: ``(B, K)``, ``(B, K, H, W)``, ``(R,)``, ``(R, 1)`` or ``(R, C)``;
            with one dimension more, of size 1, likewise. ``(P, K)`` weights of the persons
            of a batch do not weigh a map that all persons share, and are refused.
        mask: ``(B, 1, H, W)``, ``(B, H, W)`` or ``(B, K, H, W)``.
    """
    weight = None
    for name, part in (('target_weights', target_weights), ('mask', mask)):
        if part is None:
            continue
        if not isinstance(part, Tensor):
            raise ShapeError(f'{name}: expected a tensor or None, got {type(part).__name__}')
        if name == 'mask' and part.dim() == loss.dim() - 1 == 3:
            part = part[:, None]
        part = like_pred(part, loss).reshape(part.shape + (1,) * (loss.dim() - part.dim()))
        if part.dim() != loss.dim() or any(
            p not in (1, size) for p, size in zip(part.shape, loss.shape)
        ):
            raise ShapeError(
                f'{name}: expected to broadcast over {tuple(loss.shape)}, got {tuple(part.shape)}'
            )
        weight = part if weight is None else weight * part
    return weight


def keypoint_ohkm_mse_loss(
    pred: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = 'mean',
    *,
    topk: int = 8,
) -> Tensor:
    """Squared error of each image's ``topk`` worst keypoints: online hard keypoint mining.

    The mean over the map of each keypoint, then over the worst of an image: ``(B,)``. Rows
    of pixels ``(R, C)`` are one image.

    Source: Y. Chen et al., Cascaded Pyramid Network (2018).

    Args:
        pred: ``(B, K, H, W)`` or ``(R, C)``.
        target: Its shape.
        topk: How many keypoints of an image count.
        weight: What broadcasts over ``pred``; it weighs before the worst are chosen.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``, over the images.

    Raises:
        ShapeError: If shapes differ or there are fewer than ``topk`` keypoints.
    """
    check_floating('pred', pred)
    check_same_shape(pred, target)
    check_counts('keypoint_ohkm_mse_loss', topk=topk)
    if pred.dim() < 2 or pred.shape[1] < topk:
        raise ShapeError(
            f'pred: expected at least topk = {topk} keypoints, got {tuple(pred.shape)}'
        )
    loss = mse_loss(pred, target, reduction='none')
    check_weight(weight)
    weight = weighted_heatmap(loss, weight, None)
    if weight is not None:
        loss = loss * weight
    if pred.dim() == 2:
        by_keypoint = loss.sum(0, keepdim=True) / max(loss.shape[0], 1)  # (1, C)
    else:
        by_keypoint = loss.flatten(2).mean(-1)  # (B, K)
    return reduce_loss(by_keypoint.topk(topk, dim=1).values.mean(1), reduction)


class HeatmapLoss(BaseLoss):
    """A loss of heatmaps, with MMPose's call for keypoints, and the mask for all of them.

    Args:
        use_target_weight: Whether ``target_weights`` count; a head's ``weight`` always does.
        loss_weight: The loss is multiplied by it.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
    """

    kinds = ('heatmap',)

    def __init__(
        self, use_target_weight: bool = False, loss_weight: float = 1.0, reduction: str = 'mean'
    ) -> None:
        super().__init__(reduction, loss_weight)
        check_flags(self, use_target_weight=use_target_weight)
        self.use_target_weight = use_target_weight

    def forward(  # type: ignore[override]
        self,
        output: Tensor,
        target: Tensor | ClassTargets,
        target_weights: Tensor | None = None,
        mask: Tensor | float | None = None,
        reduction_override: str | None = None,
        *,
        weight: Tensor | None = None,
        avg_factor: Tensor | float | None = None,
    ) -> Tensor:
        """The loss.

        Args:
            output: ``(B, K, H, W)`` or ``(R, C)``.
            target: Its shape, or :class:`ClassTargets` for ``(R, C)``.
            target_weights: ``(B, K)`` or ``(B, K, H, W)``; see ``use_target_weight``.
            mask: ``(B, 1, H, W)``, 0 where nothing is annotated. A number in this place
                is the ``avg_factor`` of the shared call.
            reduction_override: In place of ``reduction``.
            weight: Weights that always count: as ``target_weights``, or ``(R,)``.
            avg_factor: What a mean divides by.
        """
        if mask is not None and (not isinstance(mask, Tensor) or mask.dim() == 0):
            mask, avg_factor = None, mask
        if weight is None and self.use_target_weight:
            weight = target_weights
        if isinstance(target, ClassTargets):
            weight = row_weight(weight, target)
            target = target.dense()
        return self.call(output, target, weight, avg_factor, reduction_override, mask=mask)

    def compute(
        self,
        pred: Tensor,
        target: Target,
        weight: Tensor | None,
        reduction: str,
        avg_factor: Tensor | float | None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """See :meth:`BaseLoss.compute`."""
        target = like_pred(check_same_shape(pred, target), pred)
        loss = self.elements(in_float(pred), target)
        weight = self.channel_weight(target, weighted_heatmap(loss, weight, mask))
        return self.loss_weight * reduce_loss(loss, reduction, weight, avg_factor)

    def channel_weight(self, target: Tensor, weight: Tensor | None) -> Tensor | None:
        """Change the weights by what the target holds."""
        return weight


@MODELS.register_module()
class KeypointMSELoss(HeatmapLoss):
    """Mean squared error of heatmaps, with keypoint weights and a mask.

    The regression of joint heatmaps of Tompson et al. (2014), with MMPose's options.

    Plain formula: ``mse`` in ``testing/reference/losses/differences.py``.

    Args:
        use_target_weight: Whether ``target_weights`` count.
        skip_empty_channel: Leave out the maps that hold no keypoint.
        loss_weight: The loss is multiplied by it.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``; a mean is over all elements, also
            those of weight 0.
        foreground: An element counts ``1 + foreground * target``, so that the few cells
            near joints are not outvoted by all the others. 0 is the plain mean.
    """

    def __init__(
        self,
        use_target_weight: bool = False,
        skip_empty_channel: bool = False,
        loss_weight: float = 1.0,
        *,
        reduction: str = 'mean',
        foreground: float = 0.0,
    ) -> None:
        super().__init__(use_target_weight, loss_weight, reduction)
        check_flags(self, skip_empty_channel=skip_empty_channel)
        check_numbers(self, low=0, foreground=foreground)
        self.skip_empty_channel = skip_empty_channel
        self.foreground = foreground

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """See :func:`mse_loss`."""
        return mse_loss(pred, target, reduction='none')

    def channel_weight(self, target: Tensor, weight: Tensor | None) -> Tensor | None:
        """Zero for maps without a keypoint, more near keypoints, if so wished."""
        if self.foreground:
            more = 1 + self.foreground * target
            weight = more if weight is None else weight * more
        if not self.skip_empty_channel:
            return weight
        dims = tuple(range(2, target.dim())) if target.dim() > 2 else (0,)
        held = (target != 0).sum(dim=dims, keepdim=True).clamp(max=1).to(target.dtype)
        return held if weight is None else weight * held


@MODELS.register_module()
class KeypointOHKMMSELoss(HeatmapLoss):
    """:func:`keypoint_ohkm_mse_loss` with keypoint weights and a mask.

    Plain formula: ``ohkm`` in ``testing/reference/losses/differences.py``.

    Args:
        use_target_weight: Whether ``target_weights`` count.
        topk: How many keypoints of an image count.
        loss_weight: The loss is multiplied by it.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
    """

    def __init__(
        self,
        use_target_weight: bool = False,
        topk: int = 8,
        loss_weight: float = 1.0,
        *,
        reduction: str = 'mean',
    ) -> None:
        super().__init__(use_target_weight, loss_weight, reduction)
        check_counts(self, topk=topk)
        self.topk = topk

    def compute(
        self,
        pred: Tensor,
        target: Target,
        weight: Tensor | None,
        reduction: str,
        avg_factor: Tensor | float | None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """See :meth:`BaseLoss.compute`."""
        target = check_same_shape(pred, target)
        # A head's avg_factor counts keypoints; the worst of an image are counted already.
        return self.loss_weight * keypoint_ohkm_mse_loss(
            pred,
            target,
            topk=self.topk,
            weight=weighted_heatmap(pred, weight, mask),
            reduction=reduction,
        )
