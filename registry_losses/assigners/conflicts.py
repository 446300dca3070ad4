"""Of several gts that claim a prior, which one gets it: the one place where this is decided.

Shapes: T claims, K priors or claims that are left, B images, N priors, M gts.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ..ops.device import block_elements
from ..ops.segments import (
    HIGHEST_KEY,
    NO_KEY,
    claim_key,
    key_is_best,
    lowest_key,
    overriding_key,
    segment_best,
    segment_winners,
    split_lowest_key,
)
from ..structures import GroundTruth


def resolve_conflicts(
    flat_index: Tensor, scores: Tensor, gt: Tensor, num_flat: int, *, largest: bool = True
) -> Tensor:
    """One gt a prior: of several claims the best score stays, of equal ones the lower gt.

    Args:
        flat_index: ``(T,)`` int64, the prior claimed, counted over the batch (``B * N``).
        scores: ``(T,)`` float32.
        gt: ``(T,)`` int64, the gt that claims it.
        num_flat: ``B * N``.
        largest: False for costs and distances.

    Returns:
        ``(T,)`` bool, the claims that stay.
    """
    return segment_best(scores, flat_index, gt, num_flat, largest=largest)


def resolve_with_overrides(
    flat_index: Tensor,
    scores: Tensor,
    gt: Tensor,
    num_flat: int,
    *,
    claims: Tensor,
    overrides: Tensor | None,
) -> Tensor:
    """:func:`resolve_conflicts` where some claims outrank every score.

    Args:
        flat_index: ``(T,)`` int64, the prior claimed, counted over the batch (``B * N``).
        scores: ``(T,)`` float32, at least 0 where there is a claim.
        gt: ``(T,)`` int64, the gt that claims it.
        num_flat: ``B * N``.
        claims: ``(T,)`` bool, which of the T claim by their score.
        overrides: ``(T,)`` bool, which claim whatever the score; of several the last gt
            (the highest number) gets the prior. None for none.

    Returns:
        ``(T,)`` bool, the claims that stay.
    """
    key = claim_key(scores, gt, claims, signed=False)
    if overrides is not None:
        key = torch.where(overrides, overriding_key(gt), key)
    return key_is_best(key, flat_index, num_flat) & (key > 0)


def last_claims(flat_index: Tensor, order: Tensor, num_flat: int, claims: Tensor) -> Tensor:
    """One claim a prior: the last in ``order (T,)`` int64; ``(T,)`` bool."""
    key = torch.where(claims, order, NO_KEY)
    return key_is_best(key, flat_index, num_flat) & claims


def winners(
    flat_index: Tensor,
    scores: Tensor,
    gt: Tensor,
    num_flat: int,
    *,
    largest: bool = True,
    claims: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """:func:`resolve_conflicts` as a list of priors, for scores that are not negative.

    Waits for the device once.

    Args:
        flat_index: ``(T,)`` int64, the prior claimed, counted over the batch (``B * N``).
        scores: ``(T,)`` float32 >= 0.
        gt: ``(T,)`` int64, the gt that claims it.
        num_flat: ``B * N``.
        largest: False for costs and distances.
        claims: ``(T,)`` bool, which of the T count; None for all.

    Returns:
        ``(K,)`` int64, the priors that are claimed, ascending; and ``(K,)`` their gts.
    """
    return segment_winners(flat_index, scores, gt, num_flat, largest=largest, claims=claims)


def best_of_all_gts(
    image: Tensor,
    prior: Tensor,
    gt: GroundTruth,
    scores: Callable[[Tensor, Tensor], Tensor],
    *,
    largest: bool = True,
) -> Tensor:
    """``(K,)`` the best gt of the whole image for each prior, whether it claimed it or not.

    Args:
        image: ``(K,)`` int64.
        prior: ``(K,)`` int64.
        gt: The gts; of equal ones the first is taken.
        scores: ``scores(image, prior)`` gives ``(K', M)`` for some of the K.
        largest: False for costs.
    """
    winner = torch.empty_like(image)
    nothing = -torch.inf if largest else torch.inf
    step = max(2 * block_elements(image.device) // max(gt.max_gts, 1), 1)
    for start in range(0, image.shape[0], step):
        part = slice(start, start + step)
        values = torch.where(gt.valid[image[part]], scores(image[part], prior[part]), nothing)
        best = values.amax(dim=1) if largest else values.amin(dim=1)
        # The first of equals on every device, which argmax does not promise.
        winner[part] = (values == best[:, None]).byte().argmax(dim=1)
    return winner


class LowestOffers:
    """For every prior the lowest cost at which any gt has been offered to it, and that gt.

    Offers come block by block; of equal costs the gt with the lower number stays.

    Args:
        num_flat: ``B * N``.
        device: Where the priors are.
    """

    def __init__(self, num_flat: int, device: torch.device) -> None:
        self._key = torch.full((num_flat,), HIGHEST_KEY, device=device)

    def add(self, flat_index: Tensor, costs: Tensor, gt: Tensor) -> None:
        """Offer gts ``(T,)`` to priors ``(T,)`` at ``costs (T,)``."""
        self._key.scatter_reduce_(0, flat_index, lowest_key(costs, gt), 'amin')

    def at(self, flat_index: Tensor) -> tuple[Tensor, Tensor]:
        """``(K,)`` lowest cost and ``(K,)`` gt of some priors that had an offer."""
        return split_lowest_key(self._key.index_select(0, flat_index))
