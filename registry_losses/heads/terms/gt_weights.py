"""Weights that a user gave to single gts, on the rows of loss terms.

A gt's weight multiplies the loss of its pairs: box, distribution, centreness and
classification of positives alone. Where a term is charged on all priors (classification,
objectness, heatmaps), it multiplies the whole row of each positive, so that a weight of 0
makes the priors of a gt neither object nor background; of several gts on one row the
largest weight counts. Negatives and Gaussian targets around a positive count 1. What a loss
is divided by stays as it is, so that a weight of 2 counts as two such gts do.

Shapes: B images, N priors, M gts, K pairs, R rows.
"""

from torch import Tensor

from ...structures import Assignment, GroundTruth


def weights_of(gt: GroundTruth, pairs: Assignment) -> Tensor | None:
    """``(K,)`` weight of each pair's gt; None where all are 1."""
    return None if gt.weights is None else gt.weights[pairs.image, pairs.gt]


def times_pairs(weight: Tensor | None, gt: GroundTruth, pairs: Assignment) -> Tensor | None:
    """``(K,)`` weights of pairs times those of their gts.

    Args:
        weight: ``(K,)``, or None where all are 1.
        gt: The ground truth.
        pairs: The pairs.
    """
    of_gt = weights_of(gt, pairs)
    if weight is None or of_gt is None:
        return of_gt if weight is None else weight
    return weight * of_gt


def times_rows(
    weight: Tensor | None, gt: GroundTruth, pairs: Assignment, rows: Tensor, num_rows: int
) -> Tensor | None:
    """``(R,)`` weights of rows times those of the gts whose positives they are.

    Args:
        weight: ``(R,)``, or None where all are 1.
        gt: The ground truth.
        pairs: The pairs.
        rows: ``(K,)`` the row of each pair.
        num_rows: R.
    """
    of_gt = weights_of(gt, pairs)
    if of_gt is None:
        return weight
    by_row = of_gt.new_ones(num_rows).scatter_reduce(0, rows, of_gt, 'amax', include_self=False)
    return by_row if weight is None else weight * by_row
