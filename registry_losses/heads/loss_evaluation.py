"""From loss terms to a dict of scalar losses, for every head.

A term is prepared (what is compared, with which weights, how many count), the counts of
all terms are averaged over the ranks in one message, and then the losses are taken.

Shapes: B images, N slots, K pairs, C classes, R rows, L levels.
"""

from collections.abc import Sequence

import torch
from mmengine import dist
from torch import Tensor

from ..errors import ConfigError, PairingError
from ..structures import ClassTargets, LossTerm
from .comparisons import PREPARE, Comparison
from .loss_inputs import LossInputs


def evaluate_terms(terms: Sequence[LossTerm], inputs: LossInputs) -> dict[str, Tensor]:
    """The losses of a head, one 0-d tensor a term.

    The same keys on every rank and step, each with a graph to the head's outputs, also
    when there is no gt anywhere.

    Args:
        terms: What the head states.
        inputs: The step.

    Returns:
        Term name to differentiable scalar.
    """
    prepared = [PREPARE[term.kind](term, inputs) for term in terms]
    counts = _mean_over_ranks([comparison.count for comparison in prepared])
    return {
        term.name: _take_loss(term, comparison, count, inputs)
        for term, comparison, count in zip(terms, prepared, counts)
    }


def check_terms(terms: Sequence[LossTerm]) -> None:
    """Refuse a loss whose kind is not its term's, when the config is built.

    Raises:
        PairingError: Naming the term, the loss, and the kinds on both sides.
    """
    for term in terms:
        kinds = getattr(term.loss, 'kinds', None)
        if kinds is not None and term.kind not in kinds:
            raise PairingError(
                f'{term.name}: {type(term.loss).__name__} serves {", ".join(kinds)}, but this '
                f'term of the head is of kind {term.kind!r}; choose a loss that serves it'
            )
        if term.kind not in PREPARE:
            raise PairingError(
                f'{term.name}: no rule evaluates terms of kind {term.kind!r}; '
                f'there are rules for {", ".join(PREPARE)}'
            )


def fit_target(loss, targets: ClassTargets) -> tuple[object, Tensor | None]:
    """The form of a class target that a loss reads, and the row weights that go with it.

    A loss that declares no ``target_format`` (OpenMMLab's) gets int labels.
    """
    form = getattr(loss, 'target_format', 'labels')
    if form == 'sparse':
        return targets, None
    if form == 'dense':
        return targets.dense(), (~targets.ignored).float()
    labels, scores, weight = targets.label_score()
    if form == 'label_score':
        return (labels, scores), weight
    if form == 'labels':
        return labels, weight
    raise ConfigError(
        f"{type(loss).__name__}.target_format={form!r} is none of 'sparse', 'labels', "
        "'label_score', 'dense'"
    )


def row_losses(term: LossTerm, inputs: LossInputs, *, per_pair: bool = False) -> Tensor:
    """Detached loss of every row of a term, float32, for samplers and assigners that ask.

    Args:
        term: A term over all slots, or over pairs with ``per_pair``.
        inputs: The step.
        per_pair: Give ``(K,)`` instead of ``(B, N)``.
    """
    with torch.no_grad():
        comparison = PREPARE[term.kind](term, inputs)
        target, weight = comparison.target, comparison.weight
        if isinstance(target, ClassTargets):
            target, more = fit_target(term.loss, target)
            weight = _times(weight, more)
        pred = comparison.preds[-1].detach().float()
        loss = term.loss(pred, target, weight=weight, reduction_override='none')
        rows = loss.reshape(pred.shape[0], -1).sum(dim=1)
        if per_pair:
            return rows
        by_row = rows.reshape(inputs.assignment.batch_size, -1)
        class_row = inputs.priors.class_row
        return by_row if class_row is None else by_row[:, class_row]


def _mean_over_ranks(counts: list[Tensor]) -> list[Tensor]:
    """Average every count over the ranks, all in one message."""
    if dist.get_world_size() == 1 or not counts:
        return counts
    flat = torch.cat([count.reshape(-1).float() for count in counts])
    dist.all_reduce(flat, op='mean')
    parts = flat.split([max(count.numel(), 1) for count in counts])
    return [part.reshape(count.shape) for part, count in zip(parts, counts)]


def _times(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return a if b is None else b
    return a * b


def _take_loss(term: LossTerm, comparison: Comparison, count: Tensor, inputs: LossInputs) -> Tensor:
    """The scalar of one term, summed over its stages."""
    target, weight = comparison.target, comparison.weight
    if isinstance(target, ClassTargets):
        target, more = fit_target(term.loss, target)
        weight = _times(weight, more)
    options: dict = {'avg_factor': count.clamp(min=term.clamp)}
    if term.normalizer == 'none' or getattr(term.loss, 'reduction', 'mean') == 'sum':
        options = {'reduction_override': 'sum'}
    elif term.normalizer == 'level_mean':
        shares = count.clamp(min=term.clamp).reciprocal()
        if term.level_weights is not None:
            shares = shares * _level_weights(term, shares)
        weight = _times(weight, shares[comparison.levels])
        options = {'reduction_override': 'sum'}
    total = sum(term.loss(pred, target, weight=weight, **options) for pred in comparison.preds)
    scale = term.factor
    if term.times_batch:
        scale = scale * inputs.assignment.batch_size * dist.get_world_size()
    return total * scale


def _level_weights(term: LossTerm, like: Tensor) -> Tensor:
    weights = term.level_weights or ()
    if len(weights) != len(like):
        raise ConfigError(f'{term.name}: {len(weights)} level_weights for {len(like)} levels')
    return torch.tensor(weights, device=like.device, dtype=like.dtype)
