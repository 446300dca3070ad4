"""From loss terms to a dict of scalar losses, for every head.

A term is prepared (what is compared, with which weights, how many count), the counts of
all terms are averaged over the ranks in one message, and then the losses are taken.

Shapes: B images, N priors, K pairs, C classes, R rows, L levels.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmengine import dist
from torch import Tensor, nn

from ...errors import ConfigError
from ...losses.declared import declared
from ...structures import ClassTargets, LossTerm
from .comparison import Comparison, TagTargets
from .comparisons import PREPARE
from .loss_inputs import LossInputs


def evaluate_terms(terms: Sequence[LossTerm], inputs: LossInputs) -> dict[str, Tensor]:
    """The losses of a head, one 0-d tensor a term.

    The same keys on every rank and step, each with a graph to the head's outputs, also
    when there is no gt anywhere.

    Args:
        terms: What the head states.
        inputs: The step.

    Returns:
        Term name to differentiable scalar; a term of kind ``embedding`` has two, named
        ``loss_pull`` and ``loss_push``.
    """
    prepared = [PREPARE[term.kind](term, inputs) for term in terms]
    counts = _mean_over_ranks([comparison.count for comparison in prepared])
    losses: dict[str, Tensor] = {}
    for term, comparison, count in zip(terms, prepared, counts):
        if isinstance(comparison.target, TagTargets):
            losses.update(_tag_losses(term, comparison, count))
        else:
            losses[term.name] = _take_loss(term, comparison, count, inputs)
    return losses


def fit_target(loss, targets: ClassTargets) -> tuple[object, Tensor | None]:
    """The form of a class target that a loss reads, and the row weights that go with it.

    A loss that declares no ``target_format`` (OpenMMLab's) gets int labels.
    """
    form = declared(loss).target_format
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


def call_loss(loss, pred: Tensor, target, weight: Tensor | None = None, **options):
    """A loss of rows, its class targets in the form it reads.

    Args:
        loss: A loss module.
        pred: ``(R, ...)``.
        target: ``ClassTargets``, or values.
        weight: ``(R,)`` row weights or None.
        **options: ``avg_factor``, ``reduction_override``.
    """
    if isinstance(target, ClassTargets):
        target, more = fit_target(loss, target)
        weight = _times(weight, more)
    return loss(pred, target, weight=weight, **options)


@contextmanager
def unchanged_buffers(loss) -> Iterator[None]:
    """Give a loss its buffers back as they were: a look is no training step.

    Seesaw loss counts what it sees, a moving average moves.
    """
    buffers = list(loss.buffers()) if isinstance(loss, nn.Module) else []
    kept = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        for buffer, value in zip(buffers, kept):
            buffer.copy_(value)


def averaging(term: LossTerm, count: Tensor) -> dict[str, Tensor | str]:
    """How a term asks its loss to reduce: over ``count``, or a sum."""
    summed = term.normalizer in ('none', 'level_mean')
    if summed or declared(term.loss).reduction == 'sum':
        return {'reduction_override': 'sum'}
    return {'avg_factor': count}


def row_losses(term: LossTerm, inputs: LossInputs, *, per_pair: bool = False) -> Tensor:
    """Detached loss of every row of a term, float32, for samplers and assigners that ask.

    Of a loss that is no sum over rows (Dice) it is the norm of the row's gradient, which
    says as well how hard a row is.

    Args:
        term: A term over all priors, or over pairs with ``per_pair``.
        inputs: The step.
        per_pair: Give ``(K,)`` instead of ``(B, N)``.
    """
    with torch.no_grad(), unchanged_buffers(term.loss):
        comparison = PREPARE[term.kind](term, inputs)
        pred = comparison.preds[-1].detach().float()
        compared = (comparison.target, comparison.weight)
        loss = call_loss(term.loss, pred, *compared, reduction_override='none')
        if loss.shape[:1] == pred.shape[:1]:
            rows = loss.flatten(1).sum(dim=1) if loss.dim() > 1 else loss
        else:
            rows = _gradient_norms(term.loss, pred, *compared)
        if per_pair:
            return rows
        by_row = rows.reshape(inputs.assignment.batch_size, -1)
        class_row = inputs.priors.class_row
        # Objectness has a row a prior, also where priors share their class vector.
        shared = class_row is not None and term.kind in ('classification', 'heatmap')
        return by_row[:, class_row] if shared else by_row


def _gradient_norms(loss, pred: Tensor, target, weight: Tensor | None) -> Tensor:
    """``(R,)`` norm of the gradient of the summed loss at each row."""
    with torch.enable_grad():
        pred = pred.requires_grad_()
        total = call_loss(loss, pred, target, weight, reduction_override='sum')
        return torch.autograd.grad(total, pred)[0].norm(dim=1)


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
    weight = comparison.weight
    if term.normalizer == 'level_mean':
        shares = count.clamp(min=term.clamp).reciprocal()
        if term.level_weights is not None:
            shares = shares * _level_weights(term, shares)
        weight = _times(weight, shares[comparison.levels])
    options = averaging(term, count.clamp(min=term.clamp))
    total = sum(
        call_loss(term.loss, pred, comparison.target, weight, **options)
        for pred in comparison.preds
    )
    scale = term.factor
    if term.times_batch:
        scale = scale * inputs.assignment.batch_size * dist.get_world_size()
    return total * scale


def _tag_losses(term: LossTerm, comparison: Comparison, count: Tensor) -> dict[str, Tensor]:
    """Pull and push of the tags, summed over the images, over the normaliser."""
    target = comparison.target
    assert isinstance(target, TagTargets)
    scale = term.factor / count.clamp(min=term.clamp)
    loss: Any = term.loss
    pull, push = loss.grouped(
        comparison.preds[0],
        target.person,
        target.image_of_person,
        target.num_images,
        joint_weight=target.joint_weight,
    )
    return {'loss_pull': pull * scale, 'loss_push': push * scale}


def _level_weights(term: LossTerm, like: Tensor) -> Tensor:
    weights = term.level_weights or ()
    if len(weights) != len(like):
        raise ConfigError(f'{term.name}: {len(weights)} level_weights for {len(like)} levels')
    return torch.tensor(weights, device=like.device, dtype=like.dtype)
