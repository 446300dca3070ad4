"""Boxes as distributions: the distance to each side is the expectation over bins.

Li et al., "Generalized Focal Loss", NeurIPS 2020, equation 5; shared by the heads that have it.

Shapes: n bins a side.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError
from ..structures import LossTerm
from ..structures.loss_term import PairWeight
from .initial import prior_sides, start_at_distance


def coder_with_bins(node: Any, num_bins: int) -> Any:
    """A coder's node, in strides and with so many bins unless it says otherwise."""
    if not isinstance(node, Mapping):
        return node
    return {'normalize_by_stride': True, 'bins': num_bins, **node}


def check_bins(head: Any) -> None:
    """Refuse a coder that has not the bins of the head.

    Raises:
        ConfigError: Naming both numbers.
    """
    bins = getattr(head.bbox_coder, 'bins', None)
    if bins != head.num_bins:
        raise ConfigError(
            f'{type(head).__name__}.bbox_coder: expected bins={head.num_bins} (reg_max + 1), '
            f'got {bins}'
        )


def start_as_priors(bias: Tensor, prior_generator: Any) -> None:
    """Biases by which boxes begin as their priors.

    Args:
        bias: ``(..., 4, n)``, changed in place.
        prior_generator: Whose first prior counts.
    """
    width, height = prior_sides(prior_generator)
    with torch.no_grad():
        for side, distance in enumerate((width / 2, height / 2) * 2):
            start_at_distance(bias[..., side, :], distance)


def box_terms(head: Any, pair_weight: PairWeight) -> tuple[LossTerm, ...]:
    """Whole boxes and, if the head has ``loss_dfl``, distributions; weighted alike.

    Args:
        head: Its ``loss_bbox`` and ``loss_dfl`` are the losses.
        pair_weight: What each positive weighs; both are over the sum of it.
    """
    weighted: dict[str, Any] = dict(branch='bbox', pair_weight=pair_weight, normalizer='weight_sum')
    box = LossTerm('loss_bbox', head.loss_bbox, kind=head.box_kind(), **weighted)
    if head.loss_dfl is None:
        return (box,)
    return box, LossTerm('loss_dfl', head.loss_dfl, kind='distribution', **weighted)
