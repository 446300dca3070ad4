"""Loss terms that several heads have alike."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ...structures import LossTerm


def with_centerness(
    terms: Sequence[LossTerm], loss: Any, *, clamp: float = 1.0
) -> tuple[LossTerm, ...]:
    """A class and a box term, and centreness, which also weighs the boxes.

    FCOS, Tian et al., ICCV 2019, sections 3.1 and 3.3; ATSS.

    Args:
        terms: The class term, then the box term.
        loss: The loss of the centreness branch.
        clamp: The least sum of weights that divides the box loss.
    """
    cls, box = terms
    return (
        cls,
        replace(box, normalizer='weight_sum', pair_weight='centerness', clamp=clamp),
        LossTerm('loss_centerness', loss, kind='centerness', branch='centerness'),
    )
