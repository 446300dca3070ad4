"""What an inspection found, as tables and warnings.

Shapes: K pairs, L levels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..heads import LossInputs
from ..losses.declared import declared
from ..structures.loss_term import BOX_KINDS
from ..visualization import Counts, Table
from ..visualization.assignment_counts import SIZE_NAMES, size_group
from .inspection import Inspection


def pairing_table(head: Any, model_cfg: Mapping) -> Table:
    """The parts that were built, with the settings that the config gives them.

    Args:
        head: The head.
        model_cfg: The part of the config that describes it, see :func:`stage_config`.
    """
    outputs = f'num_classes={head.num_classes}, outputs a class vector={head.cls_out_channels}'
    rows = [('head', type(head).__name__, outputs, '')]
    parts = dict(
        prior_generator=getattr(head, 'prior_generator', None),
        bbox_coder=head.bbox_coder,
        assigner=head.assigner,
        sampler=head.sampler,
    )
    initial = getattr(head, 'initial', None)
    if initial is not None:
        parts['initial_assigner'] = initial.assigner
    for name, part in parts.items():
        kind = '-' if part is None else type(part).__name__
        if name == 'prior_generator' and part is None:
            kind = 'proposals of the first stage'
        needs = ', '.join(sorted(getattr(part, 'needs', ()))) or '-'
        settings = _settings(_find(model_cfg, name))
        rows.append((name.replace('_', ' '), kind, settings, needs))
    return Table('Pairing', ('part', 'type', 'settings', 'asks the head for'), tuple(rows))


def stage_config(model_cfg: Mapping, stage: str) -> Mapping:
    """The part of a model's config that describes one of its heads."""
    if 'roi_head' not in model_cfg:
        return model_cfg
    head, part = ('rpn_head', 'rpn') if stage == 'rpn' else ('roi_head', 'rcnn')
    return dict(head=model_cfg[head], settings=(model_cfg.get('train_cfg') or {}).get(part))


def _find(node: Any, name: str) -> Any:
    """What stands under a key, anywhere in a model node."""
    if not isinstance(node, Mapping):
        return None
    if node.get(name) is not None:
        return node[name]
    found = (_find(child, name) for child in node.values())
    return next((value for value in found if value is not None), None)


def _settings(node: Any) -> str:
    """The arguments of a config node, on one line."""
    given = node.items() if isinstance(node, Mapping) else ()
    text = ', '.join(f'{key}={_plain(value)}' for key, value in given if key != 'type')
    return (text if len(text) <= 200 else text[:197] + '...') or 'defaults'


def _plain(value: Any) -> Any:
    return value.to_dict() if hasattr(value, 'to_dict') else value


def term_table(found: Inspection) -> Table:
    """Each loss term as the head states it, and its value."""
    rows = []
    for term in found.head.loss_terms:
        normalizer = 'sum' if declared(term.loss).reduction == 'sum' else term.normalizer
        weight = term.factor * declared(term.loss).loss_weight
        extra = [f'x {weight:g}']
        extra += [f'target {term.target_quality}'] if term.target_quality != 'assigned' else []
        extra += [f'pair {term.pair_weight}'] if term.pair_weight != 'assigned' else []
        extra += ['x images'] if term.times_batch else []
        extra += [f'levels {term.level_weights}'] if term.level_weights else []
        # A term of tags has two values.
        names = ['loss_pull', 'loss_push'] if term.kind == 'embedding' else [term.name]
        value = ', '.join(f'{found.losses[name]:.4g}' for name in names)
        by_pair = term.kind in (*BOX_KINDS, 'centerness')
        kind = (term.kind, 'positives' if by_pair else term.rows, normalizer)
        rows.append((term.name, type(term.loss).__name__, *kind, ', '.join(extra), value))
    head = ('term', 'loss', 'kind', 'rows', 'normaliser', 'weight', 'value')
    return Table('Loss terms', head, tuple(rows))


def level_table(found: Inspection) -> Table:
    """Feature maps and priors of each level, and what became of the priors."""
    priors, assigned = found.inputs.priors, found.inputs.assignment
    level_ids, count = priors.level_ids, len(priors.level_sizes)
    of_prior = level_ids.expand_as(assigned.ignored)
    positive, ignored = (
        torch.bincount(of_prior[mask], minlength=count).tolist()
        for mask in (assigned.positive_mask(), assigned.ignored)
    )
    soft = [0] * count
    if assigned.soft is not None:
        prior_index = torch.stack((assigned.soft.image, assigned.soft.prior)).unique(dim=1)[1]
        soft = torch.bincount(level_ids[prior_index], minlength=count).tolist()
    rows = []
    for index, level in enumerate(priors.levels):
        shape = found.shapes[index] if len(found.shapes) == count else found.shapes[-1]
        side = [f'{min(s):.0f}' for s in zip(*level.base_sizes)]
        largest = [f'{max(s):.0f}' for s in zip(*level.base_sizes)]
        span = (
            ' x '.join(side) if side == largest else f'{" x ".join(side)} to {" x ".join(largest)}'
        )
        numbers = (level.num_base, level.num_priors, positive[index], soft[index], ignored[index])
        rows.append((f'{level.stride[0]:g}', ' x '.join(map(str, shape)), span, *map(str, numbers)))
    if not priors.levels:
        number = f'{priors.num_priors} at most'
        rows.append(('-', '-', 'proposals', '-', number, *map(str, (*positive, *soft, *ignored))))
    head = ('stride', 'feature map', 'priors (w x h)', 'a cell', 'an image')
    return Table(
        f'Levels ({assigned.batch_size} images)',
        (*head, 'positive', 'soft', 'ignored'),
        tuple(rows),
    )


def size_table(found: Inspection) -> Table:
    """Positives by the size of the gt, and how many their prior's coder cannot reach."""
    inputs = found.inputs
    counts = Counts.of(inputs.assignment, inputs.priors, inputs.gt)
    unreachable = unreachable_pairs(inputs)
    of_pair = counts.gt_size[inputs.assignment.image.numpy(), inputs.assignment.gt.numpy()]
    group = torch.from_numpy(size_group(of_pair))
    rows, without = [], counts.without_per_size()
    for index, (name, (gts, mean)) in enumerate(zip(SIZE_NAMES, counts.per_size())):
        if not gts:
            continue
        own = group == index
        beyond = '-' if unreachable is None else _share(unreachable[own])
        rows.append((name, str(gts), f'{mean:.1f}', str(without[index]), beyond))
    total = '-' if unreachable is None else _share(unreachable)
    average = counts.positives / max(int(counts.gts.sum()), 1)
    everything = (str(int(counts.gts.sum())), f'{average:.1f}', str(counts.without), total)
    rows.append(('all', *everything))
    head = ('sqrt of area', 'gts', 'positives a gt', 'gts without', 'beyond the coder')
    return Table('Positives by size of the gt', head, tuple(rows))


def _share(flags: Tensor) -> str:
    return f'{100 * float(flags.float().mean()):.0f} %' if flags.numel() else '-'


def unreachable_pairs(inputs: LossInputs) -> Tensor | None:
    """``(K,)`` bool, gts that their prior can never predict exactly; None without a coder."""
    pairs, coder = inputs.assignment, inputs.coder
    if coder is None:
        return None
    stride = inputs.priors.strides_at(pairs.image, pairs.prior)
    reference = inputs.reference_at(pairs)
    return ~coder.reachable(reference, pairs.boxes_of(inputs.gt), stride)  # type: ignore[attr-defined]


def gradient_table(found: Inspection) -> Table:
    """Gradient norms of the parts of the model."""
    rows = []
    for part, (parameters, norm, idle) in found.gradients.items():
        rows.append((part, f'{parameters:,}', f'{norm:.3g}', str(idle or '-')))
    return Table('Gradients', ('part', 'parameters', 'norm', 'tensors without'), tuple(rows))


def warnings_of(found: Inspection) -> list[str]:
    """What a user should look at before training."""
    inputs, notes = found.inputs, []
    counts = Counts.of(inputs.assignment, inputs.priors, inputs.gt)
    number = int(counts.gts.sum())
    if number and not counts.positives:
        notes.append('no gt has a positive: the assigner and these priors do not fit')
    elif counts.without:
        notes.append(f'{counts.without} of {number} gts have no positive')
    empty = [i for i, n in enumerate(counts.per_level) if not n and inputs.priors.levels]
    if empty and counts.positives:
        notes.append(f'no positive on level {", ".join(map(str, empty))}')
    beyond = unreachable_pairs(inputs)
    boxes = any(term.kind in BOX_KINDS for term in found.head.loss_terms)
    if boxes and beyond is not None and beyond.any():
        coder = type(inputs.coder).__name__
        notes.append(
            f'{_share(beyond)} of the positives lie beyond what {coder} can reach from their '
            'prior: those boxes are learnt up to its bounds'
        )
    return notes


def idle_parts(found: Inspection) -> list[str]:
    """A note for each part of the model that nothing teaches."""
    return [
        f'{part} has no gradient' for part, (_, norm, _) in found.gradients.items() if norm == 0
    ]
