"""Of several gts that claim a prior, who gets it: the one place where such conflicts end.

Shapes: T claims, K claims that stay, B images, N priors.
"""

from torch import Tensor

from ...ops.segments import segment_best, segment_winners


def resolve_conflicts(
    flat_index: Tensor, scores: Tensor, gt: Tensor, num_flat: int, *, largest: bool = True
) -> Tensor:
    """One gt a prior: of several claims the best score stays, of equal ones the lower gt.

    Args:
        flat_index: ``(T,)`` int64, the prior claimed, counted over the batch (``B * N``).
        scores: ``(T,)`` float32.
        gt: ``(T,)`` int64, the claimant.
        num_flat: ``B * N``.
        largest: False for costs and distances.

    Returns:
        ``(T,)`` bool, the claims that stay.
    """
    return segment_best(scores, flat_index, gt, num_flat, largest=largest)


def winners(
    flat_index: Tensor,
    scores: Tensor,
    gt: Tensor,
    num_flat: int,
    *,
    largest: bool = True,
    claims: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """:func:`resolve_conflicts` for scores that are not negative: who has which prior.

    Waits for the device once.

    Args:
        flat_index: ``(T,)`` int64, the prior claimed, counted over the batch (``B * N``).
        scores: ``(T,)`` float32 >= 0.
        gt: ``(T,)`` int64, the claimant.
        num_flat: ``B * N``.
        largest: False for costs and distances.
        claims: ``(T,)`` bool, which of the T count; None for all.

    Returns:
        ``(K,)`` int64, the priors that are claimed, ascending; and ``(K,)`` their gts.
    """
    return segment_winners(flat_index, scores, gt, num_flat, largest=largest, counts=claims)
