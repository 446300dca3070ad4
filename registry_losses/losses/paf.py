"""The loss of part affinity fields.

Shapes: B images, L limbs, H, W map.
"""

from torch import Tensor

from ..errors import ShapeError
from ..registry import MODELS
from .base import BaseLoss, need_tensor
from .checks import check_numbers
from .heatmap import weighted_heatmap
from .l1 import mse_loss
from .reduction import reduce_loss, reducible
from .targets import Target


@reducible
def paf_loss(pred: Tensor, target: Tensor) -> Tensor:
    """Squared error of part affinity fields, component by component.

    Source: Z. Cao et al., Realtime Multi-Person 2D Pose Estimation using Part Affinity
    Fields (2017), equation 5.

    Args:
        pred: ``(B, 2L, H, W)`` or ``(R, 2L)``: x and y of every limb's field.
        target: Its shape; unit vectors on limbs, zero elsewhere.
    """
    if pred.dim() < 2 or pred.shape[1] % 2:
        raise ShapeError(
            f'pred: expected an even number of channels, two a limb, got {tuple(pred.shape)}'
        )
    return mse_loss(pred, target, reduction='none')


@MODELS.register_module()
class PAFLoss(BaseLoss):
    """:func:`paf_loss` with a mask of the places that are annotated.

    Plain formula: ``mse`` in ``testing/reference/losses/differences.py``.

    Args:
        reduction: ``'none'``, ``'mean'`` (over all components, masked or not) or ``'sum'``.
        loss_weight: The loss is multiplied by it.
        foreground: A component on a limb counts ``1 + foreground``, so that the few
            cells of limbs are not outvoted by all the others. 0 is the plain mean.
    """

    kinds = ('field',)

    def __init__(
        self, reduction: str = 'mean', loss_weight: float = 1.0, *, foreground: float = 0.0
    ) -> None:
        super().__init__(reduction, loss_weight)
        check_numbers(self, low=0, foreground=foreground)
        self.foreground = foreground

    def compute(
        self,
        pred: Tensor,
        target: Target,
        weight: Tensor | None,
        reduction: str,
        avg_factor: Tensor | float | None,
    ) -> Tensor:
        """See :meth:`BaseLoss.compute`; ``weight`` broadcasts over the channels."""
        target = need_tensor(self, target)
        loss = paf_loss(pred, target, reduction='none')
        if weight is not None:
            if weight.dim() == loss.dim() - 1 == 3:
                weight = weight[:, None]
            weight = weighted_heatmap(loss, weight, None)
        if self.foreground:
            more = 1 + self.foreground * _on_limb(target).to(loss.dtype)
            weight = more if weight is None else weight * more
        return self.loss_weight * reduce_loss(loss, reduction, weight, avg_factor)


def _on_limb(target: Tensor) -> Tensor:
    """Where a limb's vector is not zero, in the shape of ``target``."""
    pairs = target.unflatten(1, (-1, 2))
    return (pairs != 0).any(dim=2, keepdim=True).expand_as(pairs).flatten(1, 2)
