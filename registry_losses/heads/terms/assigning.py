"""Assign and sample: from priors and gts to the pairs that the loss terms read.

Nothing here knows a head: a dense head, a RoI head and a pose head call the same function
with their own priors, parts and loss terms.

Shapes: B images, N priors, K pairs.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from numbers import Integral
from zlib import crc32

import torch
from mmengine.logging import MessageHub
from torch import Tensor

from ...assigners import BaseAssigner
from ...errors import PairingError
from ...samplers import BaseSampler
from ...structures import Assignment, LossTerm, Predictions
from ...structures.loss_term import PER_PRIOR_KINDS
from .evaluation import row_losses
from .loss_inputs import LossInputs


def assign_and_sample(
    inputs: LossInputs,
    *,
    assigner: BaseAssigner,
    sampler: BaseSampler,
    terms: Sequence[LossTerm],
    predictions: Callable[[], Predictions],
    image_ids: Sequence | None = None,
    step: int | None = None,
) -> Assignment:
    """The assigner's pairs, after the sampler.

    Assigner and sampler say in ``needs`` what they look at: predictions, the loss of each
    pair, the loss of each prior. Only that is worked out, without a graph.

    Args:
        inputs: The step; its ``assignment`` is not read. A head that has not run yet, such
            as a RoI head before pooling, gives ``HeadOutput({}, priors.level_sizes)``.
        assigner: Proposes (prior, gt) pairs.
        sampler: Chooses which priors take part.
        terms: The head's loss terms, read where losses are asked for.
        predictions: Called where predictions are asked for.
        image_ids: B ids that key the sampler's randomness; see :func:`integer_ids`.
        step: Training step; by default what the Runner announces.

    Raises:
        PairingError: If the sampler ranks by loss and no term charges negatives.

    Example:
        >>> assigned = assign_and_sample(  # doctest: +SKIP
        ...     inputs, assigner=assigner, sampler=sampler, terms=terms,
        ...     predictions=lambda: head.predictions(output, priors))
    """
    # Which priors are positive, and which are sampled, does not depend on weights.
    inputs = replace(inputs, gt=replace(inputs.gt, weights=None), _cache={})
    priors, gt = inputs.priors, inputs.gt
    needs = set(assigner.needs) | set(sampler.needs)
    with torch.no_grad():
        predicted = predictions() if 'predictions' in needs else None
        assignment = assigner(priors, gt, predicted)
        if 'pair_loss' in assigner.needs:
            losses = pair_losses(terms, replace(inputs, assignment=assignment, _cache={}))
            assignment = assigner.refine(assignment, priors, gt, losses)
        row_loss = None
        if 'row_loss' in needs:
            assigned = replace(inputs, assignment=assignment, _cache={})
            row_loss = row_losses(ranking_term(terms, sampler), assigned)
        return sampler(
            assignment,
            priors,
            gt,
            predictions=predicted,
            row_loss=row_loss,
            image_ids=integer_ids(image_ids, gt.batch_size, gt.device),
            step=current_step() if step is None else step,
        )


def pair_losses(terms: Sequence[LossTerm], inputs: LossInputs) -> Tensor:
    """``(K,)`` detached classification plus box loss of every pair (PAA)."""
    total = torch.zeros(inputs.assignment.num_pairs, device=inputs.gt.device)
    for term in terms:
        if term.kind in ('classification', 'heatmap') and not term.background:
            alone = replace(term, rows='positives')
        elif term.kind in ('box_encoded', 'box_decoded'):
            alone = replace(term, pair_weight='none', one_per_prior=False)
        else:
            continue
        total += row_losses(alone, inputs, per_pair=True) * term.factor
    return total


def ranking_term(terms: Sequence[LossTerm], sampler: object) -> LossTerm:
    """The term whose loss of a prior says how hard the prior is.

    Args:
        terms: The head's loss terms.
        sampler: Who asks, for the message.

    Raises:
        PairingError: If no term charges the negatives.
    """
    for kind in PER_PRIOR_KINDS:
        for term in terms:
            if term.kind == kind and term.rows == 'all':
                return term
    raise PairingError(
        f'{type(sampler).__name__} ranks negatives by their loss, but the head charges no loss on '
        'negatives; choose PseudoSampler'
    )


def integer_ids(image_ids: Sequence | None, batch_size: int, device: torch.device) -> Tensor:
    """``(B,)`` int64 keys of the images, the same in every process and batch.

    Args:
        image_ids: Whole numbers stay as they are; of other ids (names) it is a checksum of
            their text. None: the places in the batch, which are no keys of an image.
        batch_size: B.
        device: Of the result.
    """
    ids = range(batch_size) if image_ids is None else image_ids
    numbers = [int(v) if isinstance(v, Integral) else crc32(str(v).encode()) for v in ids]
    return torch.tensor(numbers, dtype=torch.long, device=device)


def current_step() -> int:
    """The iteration that the running Runner announces; 0 outside of training."""
    return MessageHub.get_current_instance().get_info('iter', 0) or 0
