"""What a loss declares of itself, read in one place, with OpenMMLab's defaults.

Losses of this package declare by attributes of :class:`~registry_losses.losses.BaseLoss`.
Those of other packages declare less: what is missing follows from their name, their
``use_sigmoid`` and OpenMMLab's conventions.
"""

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from ..structures.loss_term import Kind

TargetFormat = Literal['sparse', 'labels', 'label_score', 'dense']
Activation = Literal['sigmoid', 'softmax', 'identity']

# What OpenMMLab's losses of these names compare; their classes do not say it.
_KINDS_OF_NAMES: dict[str, tuple[Kind, ...]] = {
    **dict.fromkeys(('L1Loss', 'SmoothL1Loss', 'BalancedL1Loss', 'GHMR'), ('box_encoded',)),
    'MSELoss': ('box_encoded', 'objectness', 'classification', 'heatmap', 'field'),
    'DistributionFocalLoss': ('distribution',),
}
_FORMATS_OF_NAMES: dict[str, TargetFormat] = {
    'QualityFocalLoss': 'label_score',
    'VarifocalLoss': 'dense',
    'GaussianFocalLoss': 'dense',
    'MSELoss': 'dense',
}


@dataclass(frozen=True)
class Declared:
    """What heads, tools and pictures ask of a loss.

    Args:
        kinds: What it can serve, the primary kind first; None where nothing says it.
        activation: What turns the outputs that it reads into probabilities; None where
            nothing says it.
        target_format: The form of class targets that it reads.
        needs_background: Whether its outputs have one more class, the last, for background.
        num_classes: The number of classes that it was built for; None for any.
        reduction: How it reduces by itself.
        loss_weight: What it multiplies its result by.
    """

    kinds: tuple[Kind, ...] | None
    activation: Activation | None
    target_format: TargetFormat
    needs_background: bool
    num_classes: int | None
    reduction: str
    loss_weight: float

    @property
    def class_activation(self) -> Activation:
        """The activation of a branch of classes: OpenMMLab's default is the sigmoid."""
        return self.activation or 'sigmoid'

    @property
    def reads_logits(self) -> bool:
        """Whether it is known to apply a sigmoid of its own."""
        return self.activation == 'sigmoid'

    @property
    def one_label(self) -> bool:
        """Whether it can take only one class a row."""
        return self.activation == 'softmax' or self.target_format in ('labels', 'label_score')


def declared(loss: Any) -> Declared:
    """Read what ``loss`` declares.

    Args:
        loss: A loss of this package or of another.

    Example:
        >>> from registry_losses.losses import CrossEntropyLoss, GIoULoss
        >>> declared(CrossEntropyLoss()).needs_background
        True
        >>> declared(GIoULoss()).kinds
        ('box_decoded',)
    """
    name = type(loss).__name__
    kinds = getattr(loss, 'kinds', None)
    activation = getattr(loss, 'activation', None)
    if not isinstance(activation, str):  # a foreign loss may have a layer of that name
        sigmoid = getattr(loss, 'use_sigmoid', None)
        activation = None if sigmoid is None else 'sigmoid' if sigmoid else 'softmax'
    return Declared(
        kinds=kinds_of_name(name) if kinds is None else tuple(kinds),
        activation=activation,  # type: ignore[arg-type]
        target_format=getattr(loss, 'target_format', _FORMATS_OF_NAMES.get(name, 'labels')),
        needs_background=bool(getattr(loss, 'needs_background', activation == 'softmax')),
        num_classes=getattr(loss, 'num_classes', None),
        reduction=getattr(loss, 'reduction', 'mean'),
        loss_weight=getattr(loss, 'loss_weight', 1.0),
    )


def kinds_of_name(name: str) -> tuple[Kind, ...] | None:
    """What a loss of another package compares, by the name of its class.

    The losses of overlaps, which compare decoded boxes, all have IoU in their names.
    """
    if 'iou' in name.lower():
        return ('box_decoded',)
    return _KINDS_OF_NAMES.get(name)


def probabilities(logits: Tensor, loss) -> Tensor:
    """Raw outputs to [0, 1], by the activation that their loss declares.

    Args:
        logits: ``(..., C)``.
        loss: Its ``activation`` is ``'sigmoid'`` (also where it declares none),
            ``'softmax'`` over the last dimension, or ``'identity'``.
    """
    activation = declared(loss).class_activation
    if activation == 'softmax':
        return logits.float().softmax(dim=-1)
    return logits.float().sigmoid() if activation == 'sigmoid' else logits.float().clamp(0, 1)
