"""What each kind of loss term compares: rows of predictions, their targets and weights.

Shapes: B images, N priors, K pairs, C classes, R rows, L levels.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ...errors import ConfigError, PairingError
from ...losses.declared import declared
from ...structures import Assignment, ClassTargets, LossTerm
from .comparison import Comparison
from .gt_weights import times_pairs, times_rows, weights_of
from .loss_inputs import LossInputs
from .pose_terms import background_targets, complement, field_comparison, tag_comparison


def _class_rows(term: LossTerm, inputs: LossInputs) -> Comparison:
    """Classification and heatmaps: class rows against the assignment's labels."""
    if term.rows == 'positives':
        return _class_of_pairs(term, inputs)
    one_label = declared(term.loss).one_label
    pairs = inputs.pairs(term)
    targets = pairs.class_targets(
        inputs.gt,
        inputs.priors,
        inputs.num_classes,
        values=_target_values(term, inputs, pairs),
        one_label=one_label,
    )
    stages = inputs.output.branches[term.branch].stages()
    preds = tuple(stage.reshape(-1, stage.shape[-1]) for stage in stages)
    if term.background:
        targets = background_targets(targets)
        preds = tuple(complement(pred, term.loss) for pred in preds)
    _check_rows(term, preds[0], targets.num_rows)
    rows, num_rows = _flat_class_rows(inputs, pairs), targets.num_rows
    if term.rows == 'class_rows':
        preds, targets, kept = _only_positive_rows(preds, targets)
        rows, num_rows = torch.searchsorted(kept, rows), targets.num_rows
        levels = None
    else:
        levels = _row_levels(inputs)
    count = _count(term, inputs, pairs, preds[0], targets=targets, levels=levels)
    weight = times_rows(_negative_weight(term, targets), inputs.gt, pairs, rows, num_rows)
    return Comparison(preds, targets, weight, count, levels)


def _class_of_pairs(term: LossTerm, inputs: LossInputs) -> Comparison:
    """Classification on positives only, once a pair (YOLOv3, YOLOv5)."""
    pairs = inputs.pairs(term)
    data = inputs.output[term.branch]
    rows = _flat_class_rows(inputs, pairs)
    pred = data.reshape(-1, data.shape[-1]).index_select(0, rows)
    values = _target_values(term, inputs, pairs)
    index = torch.arange(pairs.num_pairs, device=rows.device)
    targets = ClassTargets(
        rows=index,
        classes=pairs.labels_of(inputs.gt),
        values=(pairs.quality if values is None else values).float(),
        positive=torch.ones_like(index, dtype=torch.bool),
        ignored=torch.zeros_like(index, dtype=torch.bool),
        num_classes=inputs.num_classes,
    )
    levels = inputs.priors.level_ids[pairs.prior]
    count = _count(term, inputs, pairs, pred, targets=targets, levels=levels)
    return Comparison((pred,), targets, weights_of(inputs.gt, pairs), count, levels)


def _objectness(term: LossTerm, inputs: LossInputs) -> Comparison:
    """Objectness: every prior, one class; of two gts on a prior the larger value wins."""
    pairs = inputs.pairs(term)
    values = _target_values(term, inputs, pairs)
    values = (pairs.quality if values is None else values).float()
    data = inputs.output[term.branch]
    pred = data.reshape(-1, data.shape[-1])
    entries = (
        pairs.flat_index,
        torch.zeros_like(pairs.flat_index),
        values,
        torch.ones_like(pairs.flat_index, dtype=torch.bool),
        inputs.assignment.ignored.reshape(-1),
        1,
    )
    targets = ClassTargets(*entries) if pairs.one_to_one else ClassTargets.merge(*entries)
    _check_rows(term, pred, targets.num_rows)
    levels = inputs.priors.level_ids.repeat(pairs.batch_size)
    count = _count(term, inputs, pairs, pred, targets=targets, levels=levels)
    weight = _negative_weight(term, targets)
    weight = times_rows(weight, inputs.gt, pairs, pairs.flat_index, targets.num_rows)
    return Comparison((pred,), targets, weight, count, levels)


def _centerness(term: LossTerm, inputs: LossInputs) -> Comparison:
    """Centreness of the positives, or how well their boxes fit."""
    pairs = inputs.pairs(term)
    pred, present = inputs.pred_at(term.branch, pairs)
    if term.target_quality in ('assigned', 'one'):
        target, _ = inputs.centerness_at(pairs)
    else:
        target = inputs.overlaps_at('bbox', pairs, term.target_quality)
    weight = _existing(None, present, pred)
    count = _count(term, inputs, pairs, pred, weight=weight)
    return Comparison((pred,), target[:, None], times_pairs(weight, inputs.gt, pairs), count)


def _box(term: LossTerm, inputs: LossInputs) -> Comparison:
    """Boxes of the positives, encoded or decoded."""
    pairs = inputs.pairs(term)
    raw, present = inputs.pred_at(term.branch, pairs)
    if term.kind == 'box_decoded':
        pred, target = inputs.decoded_at(term.branch, pairs), pairs.boxes_of(inputs.gt)
    else:
        target = inputs.encoded_targets(pairs)
        # A loss with a sigmoid of its own (YOLOv3's xy) reads logits.
        logits = declared(term.loss).reads_logits
        pred = raw if logits else inputs._coder.activate(raw.float())
    if term.columns is not None:
        pred, target = pred[:, slice(*term.columns)], target[:, slice(*term.columns)]
    weight = _existing(_pair_weight(term, inputs, pairs), present, pred)
    levels = inputs.priors.level_ids[pairs.prior]
    per_pair = 1 if term.kind == 'box_decoded' else pred.shape[1]
    count = _count(term, inputs, pairs, pred, weight=weight, levels=levels, per_row=per_pair)
    weight = times_pairs(weight, inputs.gt, pairs)
    return Comparison((pred,), target, weight, count, levels)


def _distribution(term: LossTerm, inputs: LossInputs) -> Comparison:
    """Distributions over bins, one for each of the four sides (GFL, Li et al. 2020)."""
    pairs = inputs.pairs(term)
    raw, present = inputs.pred_at(term.branch, pairs)
    target = inputs.encoded_targets(pairs)  # (K, 4)
    pred = raw.unflatten(-1, (4, -1)).flatten(0, 1)  # (4K, bins)
    target = target.reshape(-1).clamp(0, pred.shape[1] - 1 - 1e-3)
    weight = _existing(_pair_weight(term, inputs, pairs), present, raw)
    count = _count(term, inputs, pairs, pred, weight=weight)
    weight = times_pairs(weight, inputs.gt, pairs)
    # A mean over the four sides.
    weight = raw.new_ones(pairs.num_pairs) if weight is None else weight
    weight = weight.repeat_interleave(4) / 4
    return Comparison((pred,), target, weight, count)


PREPARE: dict[str, Callable[[LossTerm, LossInputs], Comparison]] = {
    'classification': _class_rows,
    'heatmap': _class_rows,
    'objectness': _objectness,
    'centerness': _centerness,
    'box_encoded': _box,
    'box_decoded': _box,
    'distribution': _distribution,
    'embedding': tag_comparison,
    'field': field_comparison,
}


def _target_values(term: LossTerm, inputs: LossInputs, pairs: Assignment) -> Tensor | None:
    """``(K,)`` values of the positives; None for the assignment's own."""
    if term.target_quality == 'assigned':
        return None
    if term.target_quality == 'one':
        return torch.ones_like(pairs.quality)
    return inputs.overlaps_at('bbox', pairs, term.target_quality)


def _pair_weight(term: LossTerm, inputs: LossInputs, pairs: Assignment) -> Tensor | None:
    """``(K,)`` weights of a box term; None where all are 1 by declaration."""
    if term.pair_weight == 'none':
        return None
    if term.pair_weight == 'centerness':
        value, inside = inputs.centerness_at(pairs)
        # A prior outside its gt (assigners swapped) still learns its box.
        return pairs.weight * torch.where(inside, value, 1.0)
    if term.pair_weight == 'quality':
        return pairs.weight * pairs.quality
    if term.pair_weight == 'score':
        return pairs.weight * inputs.best_scores_at(pairs)
    if term.pair_weight == 'iou':
        return pairs.weight * inputs.overlaps_at('bbox', pairs, 'iou')
    if term.pair_weight == 'box_scale':
        boxes, sizes = pairs.boxes_of(inputs.gt), inputs.gt.image_sizes[pairs.image]
        share = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1) / sizes.prod(dim=1)
        return pairs.weight * (2 - share)
    return pairs.weight


def _negative_weight(term: LossTerm, targets: ClassTargets) -> Tensor | None:
    """``(R,)`` row weights, ``negative_weight`` where a row has no positive."""
    if term.negative_weight == 1:
        return None
    weight = torch.full_like(targets.ignored, term.negative_weight, dtype=torch.float32)
    weight[targets.rows] = torch.where(targets.positive, 1.0, weight[targets.rows])
    return weight


def _existing(weight: Tensor | None, present: Tensor | None, pred: Tensor) -> Tensor | None:
    """Zero weight for priors on levels where the branch does not exist."""
    if present is None:
        return weight
    return present.to(pred.dtype) if weight is None else weight * present


def _flat_class_rows(inputs: LossInputs, pairs: Assignment) -> Tensor:
    """``(K,)`` row of each pair among the class rows of the batch."""
    return inputs.priors.class_rows_at(pairs.image, pairs.prior)


def _row_levels(inputs: LossInputs) -> Tensor:
    """``(B * rows,)`` level of every class row."""
    priors = inputs.priors
    levels = priors.level_ids
    if priors.class_row is not None:
        rows = levels.new_zeros(priors.num_class_rows)
        levels = rows.index_copy_(0, priors.class_row, levels)
    return levels.repeat(inputs.assignment.batch_size)


def _only_positive_rows(preds, targets: ClassTargets):
    """Keep the class rows that hold a positive, and say which (sync: their number)."""
    rows = torch.unique(targets.rows[targets.positive])
    keep = targets.positive
    reduced = ClassTargets(
        rows=torch.searchsorted(rows, targets.rows[keep]),
        classes=targets.classes[keep],
        values=targets.values[keep],
        positive=targets.positive[keep],
        ignored=torch.zeros_like(rows, dtype=torch.bool),
        num_classes=targets.num_classes,
    )
    return tuple(pred.index_select(0, rows) for pred in preds), reduced, rows


def _check_rows(term: LossTerm, pred: Tensor, rows: int) -> None:
    if pred.shape[0] != rows:
        raise PairingError(
            f'{term.name}: branch {term.branch!r} has {pred.shape[0]} rows, the priors {rows}; '
            'the head and its prior generator disagree on the number of priors a cell'
        )


def _count(
    term: LossTerm,
    inputs: LossInputs,
    pairs: Assignment,
    pred: Tensor,
    *,
    weight: Tensor | None = None,
    targets: ClassTargets | None = None,
    levels: Tensor | None = None,
    per_row: int | None = None,
) -> Tensor:
    """This rank's normaliser of a term, a 0-d float32 (``(L,)`` for ``level_mean``)."""

    def number(value: float) -> Tensor:
        return torch.full((), float(value), device=pred.device)

    name = term.normalizer
    if name == 'positives':
        return number(pairs.num_pairs)
    if name == 'class_positives':
        if targets is None:
            targets = inputs.assignment.class_targets(inputs.gt, inputs.priors, inputs.num_classes)
        return targets.positive.sum().float()
    if name == 'quality_sum':
        return pairs.quality.sum()
    if name == 'weight_sum':
        return number(pairs.num_pairs) if weight is None else weight.sum().float()
    if name == 'sampled':
        return (~inputs.assignment.ignored).sum().float()
    if name == 'batch':
        return number(pairs.batch_size)
    if name == 'elements':
        return number(pred.numel())
    if name in ('none', 'rank_sum'):
        return number(1)
    if name == 'level_mean' and levels is not None:
        per_row = pred.shape[1] if per_row is None else per_row
        counts = pred.new_zeros(len(inputs.priors.level_sizes), dtype=torch.float32)
        ones = counts.new_full(levels.shape, float(per_row))
        return counts.index_add_(0, levels, ones)
    raise ConfigError(f'{term.name}: normalizer {name!r} has no meaning for kind {term.kind!r}')
