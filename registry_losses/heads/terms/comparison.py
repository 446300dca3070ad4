"""What one loss term hands to its loss."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Comparison:
    """What one term hands to its loss.

    Args:
        preds: One tensor a stage, rows first.
        target: ``ClassTargets``, ``TagTargets``, or ``(K, D)``.
        weight: ``(R,)`` row weights or None.
        levels: ``(R,)`` level of each row, for ``level_mean``.
        count: The term's normaliser on this rank: 0-d; ``(L,)`` for ``level_mean``.
    """

    preds: tuple[Tensor, ...]
    target: object
    weight: Tensor | None
    count: Tensor
    levels: Tensor | None = None


@dataclass(frozen=True, eq=False)
class TagTargets:
    """Whose joint each of J tags is (kind ``embedding``).

    Args:
        person: ``(J,)`` int64 in [0, P).
        image_of_person: ``(P,)`` int64 in [0, B).
        num_images: B.
        joint_weight: ``(J,)`` float, 0 for places without a joint.
        max_persons: Persons of each image, padded.
    """

    person: Tensor
    image_of_person: Tensor
    num_images: int
    joint_weight: Tensor
    max_persons: int
