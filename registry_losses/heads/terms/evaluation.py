"""From loss terms to a dict of scalar losses, for every head.

A term is prepared (what is compared, with which weights, how many count), the counts of
all terms are summed over the ranks in one message, and then the losses are taken.

Shapes: B images, N priors, K pairs, C classes, R rows, L levels.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmengine import dist
from torch import Tensor, nn

from ...errors import ConfigError
from ...losses.base import BaseLoss
from ...losses.declared import declared
from ...ops.ranks import sum_over_ranks
from ...structures import ClassTargets, LossTerm
from .comparison import Comparison, TagTargets
from .comparisons import PREPARE
from .loss_inputs import LossInputs


def evaluate_terms(terms: Sequence[LossTerm], inputs: LossInputs) -> dict[str, Tensor]:
    """The losses of a head, one 0-d tensor a term.

    The same keys on every rank and step, each with a graph to the head's outputs, also
    when there is no gt anywhere.

    Args:
        terms: The head's loss terms.
        inputs: The step.

    Returns:
        Term name to differentiable scalar; a term of kind ``embedding`` has two, named
        ``loss_pull`` and ``loss_push``.
    """
    prepared = [PREPARE[term.kind](term, inputs) for term in terms]
    images = torch.full((), float(inputs.assignment.batch_size), device=inputs.gt.device)
    *totals, images = sum_over_ranks([*(each.count for each in prepared), images])
    losses: dict[str, Tensor] = {}
    for term, comparison, share in zip(terms, prepared, shares_of_ranks(terms, totals)):
        if isinstance(comparison.target, TagTargets):
            losses.update(_tag_losses(term, comparison, share))
        else:
            losses[term.name] = _take_loss(term, comparison, share, images)
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
    if weight is not None and _weighs_elements(loss, pred, target):
        weight = weight[:, None].expand_as(pred)
    return loss(pred, target, weight=weight, **options)


def _weighs_elements(loss, pred: Tensor, target) -> bool:
    """Whether a loss takes one weight an element, as OpenMMLab's losses of values do."""
    if isinstance(loss, BaseLoss) or not isinstance(target, Tensor):
        return False
    return pred.dim() == 2 and target.shape == pred.shape


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
    if term.normalizer == 'level_mean' or _is_sum(term):
        return {'reduction_override': 'sum'}
    return {'avg_factor': count}


def _is_sum(term: LossTerm) -> bool:
    """Whether nothing divides a term: it says so, or its loss can only sum."""
    if term.normalizer == 'level_mean':
        return False
    return term.normalizer in ('none', 'rank_sum') or declared(term.loss).reduction == 'sum'


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


def shares_of_ranks(terms: Sequence[LossTerm], totals: Sequence[Tensor]) -> list[Tensor]:
    """What each term divides its loss by on this rank: ``max(total, clamp) / W``.

    The gradients of W ranks are averaged, so dividing by this equals one process that
    divides the whole batch by ``max(total, clamp)``, also where there are few gts or none. A
    sum is one over all ranks (1 / W), unless the term asks for ``rank_sum``.

    Args:
        terms: The terms.
        totals: The normaliser of each, summed over the ranks.
    """
    ranks = dist.get_world_size()
    shares = []
    for term, total in zip(terms, totals):
        if term.normalizer == 'rank_sum':
            shares.append(torch.ones_like(total))
        elif _is_sum(term):
            shares.append(torch.ones_like(total) / ranks)
        else:
            shares.append(total.clamp(min=term.clamp) / ranks)
    return shares


def _times(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return a if b is None else b
    return a * b


def _take_loss(term: LossTerm, comparison: Comparison, share: Tensor, images: Tensor) -> Tensor:
    """The scalar of one term, summed over its stages.

    Args:
        term: The term.
        comparison: What it compares.
        share: Its normaliser on this rank, from :func:`shares_of_ranks`.
        images: 0-d, the images of all ranks.
    """
    weight = comparison.weight
    if term.normalizer == 'level_mean':
        by_level = share.reciprocal()
        if term.level_weights is not None:
            by_level = by_level * _level_weights(term, by_level)
        weight = _times(weight, by_level[comparison.levels])
    options = averaging(term, share)
    total = sum(
        call_loss(term.loss, pred, comparison.target, weight, **options)
        for pred in comparison.preds
    )
    if _is_sum(term):
        total = total / share
    return total * term.factor * (images if term.times_batch else 1)


def _tag_losses(term: LossTerm, comparison: Comparison, share: Tensor) -> dict[str, Tensor]:
    """Pull and push of the tags, summed over the images, over the normaliser."""
    target = comparison.target
    assert isinstance(target, TagTargets)
    loss: Any = term.loss
    pull, push = loss.grouped(
        comparison.preds[0],
        target.person,
        target.image_of_person,
        target.num_images,
        joint_weight=target.joint_weight,
        max_persons=target.max_persons,
    )
    return {'loss_pull': pull * term.factor / share, 'loss_push': push * term.factor / share}


def _level_weights(term: LossTerm, like: Tensor) -> Tensor:
    weights = term.level_weights or ()
    if len(weights) != len(like):
        raise ConfigError(f'{term.name}: {len(weights)} level_weights for {len(like)} levels')
    return torch.tensor(weights, device=like.device, dtype=like.dtype)
