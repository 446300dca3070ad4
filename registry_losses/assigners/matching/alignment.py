"""How well a class score and a box agree: the alignment of TOOD.

Shapes: K pairs, B images, M gts.
"""

from torch import Tensor

# Keeps the normalisation of a gt's alignments from dividing by 0.
ALIGNMENT_EPS = 1e-7


def power(values: Tensor, exponent: float) -> Tensor:
    """``values ** exponent``; small whole exponents by multiplying, which is much faster."""
    if exponent == 1:
        return values
    if exponent != int(exponent) or not 0 < exponent <= 8:
        return values.pow(exponent)
    half = power(values * values, exponent // 2) if exponent >= 2 else None
    if half is None:
        return values
    return half * values if exponent % 2 else half


def alignment(scores: Tensor, overlaps: Tensor, alpha: float, beta: float) -> Tensor:
    """``t = s^alpha u^beta``, Feng et al., TOOD (2021), equation 9.

    Args:
        scores: s, the probability of the gt's class, any shape.
        overlaps: u, the IoU, of the same shape.
        alpha: Exponent of the score.
        beta: Exponent of the IoU.
    """
    return power(scores, alpha) * power(overlaps, beta)


def normalized_alignment(
    alignments: Tensor, overlaps: Tensor, gt_at: Tensor, num_gts: int, eps: float = ALIGNMENT_EPS
) -> Tensor:
    """``(K,)`` class target: each gt's alignments scaled so that the largest is its best IoU.

    Feng et al., TOOD (2021), section 3.2.2 (the normalised t).

    Args:
        alignments: ``(K,)`` t of each pair.
        overlaps: ``(K,)`` IoU of each pair.
        gt_at: ``(K,)`` int64, the gt counted over the batch.
        num_gts: ``B * M``.
        eps: Keeps the division from 0.
    """
    best_t = alignments.new_zeros(num_gts).scatter_reduce_(0, gt_at, alignments, 'amax')
    best_u = overlaps.new_zeros(num_gts).scatter_reduce_(0, gt_at, overlaps, 'amax')
    return alignments * best_u[gt_at] / (best_t[gt_at] + eps)
