"""Which parts go together: refused when the config is built, not at the first step.

Shapes: R rows, K pairs, C classes, D values a prior.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ConfigError, PairingError
from ...losses.declared import declared
from ...registry import MODELS, SCOPE
from ...structures import ClassTargets, LossTerm
from ...structures.loss_term import BOX_KINDS, PER_PRIOR_KINDS, Kind
from .assigning import ranking_term
from .comparisons import PREPARE
from .evaluation import averaging, call_loss, unchanged_buffers

# What a loss may raise at shapes or values that it was not made for.
_TRIAL_ERRORS = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


def _serves(kinds: Sequence[str]) -> str:
    return (
        f'serves {", ".join(kinds)}' if kinds else 'is the loss of a whole system, not of one term'
    )


def kind_of_box_loss(loss: Any, where: str) -> Kind:
    """Whether a box loss compares decoded boxes, encoded ones, or distributions.

    Args:
        loss: The loss.
        where: Names it in messages.

    Raises:
        PairingError: If it does not say so, or compares no boxes.
    """
    if loss is None:
        raise PairingError(f'{where}: expected a box loss, got None')
    kinds = declared(loss).kinds
    if kinds is None:
        raise PairingError(
            f'{where}: {type(loss).__name__} does not say whether it '
            "compares encoded or decoded boxes; give its class kinds = ('box_encoded',) or "
            "('box_decoded',), or the head loss_terms=dict(loss_bbox=dict(kind=...)), as "
            'reg_decoded_bbox=True does for decoded ones'
        )
    order: tuple[Kind, ...] = ('box_decoded', 'box_encoded', 'distribution')
    for kind in order:
        if kind in kinds:
            return kind
    raise PairingError(
        f'{where}: {type(loss).__name__} {_serves(kinds)} and compares no boxes; '
        'choose a loss of boxes, such as SmoothL1Loss or GIoULoss'
    )


def change_terms(
    stated: Sequence[LossTerm], changes: Mapping[str, Mapping], owner: str
) -> tuple[LossTerm, ...]:
    """The loss terms of a head with the config's changes, by name.

    Args:
        stated: The head's own.
        changes: Term name to changed fields, ``dict(loss_cls=dict(normalizer='batch'))``.
        owner: The head's name, for messages.

    Raises:
        ConfigError: If there is no such term or field.
    """
    terms = {term.name: term for term in stated}
    for name, fields in changes.items():
        if name not in terms:
            raise ConfigError(f'loss_terms.{name}: {owner} states ' + ', '.join(terms))
        try:
            terms[name] = replace(terms[name], **fields)
        except TypeError as error:
            raise ConfigError(f'loss_terms.{name}: {error}') from None
    return tuple(terms.values())


def check_settings(head: Any, name: str, cfg: Mapping, known: Sequence[str]) -> None:
    """Refuse keys of a ``train_cfg`` or ``test_cfg`` that the head does not read."""
    for key in cfg:
        if key not in known:
            raise ConfigError(
                f'{type(head).__name__}.{name}.{key}: nothing reads this key; '
                f'it takes {", ".join(known)}'
            )


def check_terms(terms: Sequence[LossTerm]) -> None:
    """Refuse a loss whose kind is not its term's.

    Raises:
        PairingError: Naming the term, the loss, and the kinds on both sides.
    """
    for term in terms:
        if term.loss is None:
            raise ConfigError(f'{term.name}: this term of the head needs a loss, got None')
        kinds = declared(term.loss).kinds
        if kinds is not None and term.kind not in kinds:
            raise PairingError(
                f'{term.name}: {type(term.loss).__name__} {_serves(kinds)}, but this '
                f'term of the head is of kind {term.kind!r}; choose a loss that serves it'
            )
        if term.kind not in PREPARE:
            raise PairingError(
                f'{term.name}: no rule evaluates terms of kind {term.kind!r}; '
                f'there are rules for {", ".join(PREPARE)}'
            )


@dataclass(frozen=True, eq=False)
class Pairing:
    """The parts of a head that have to go together.

    A dense head, a RoI head and a pose head each have theirs; nothing else of a head is
    looked at.

    Args:
        head: Name of the head, for messages.
        terms: Its loss terms.
        sampler: Chooses among the priors.
        num_classes: C, without background.
        assigner: Proposes pairs; None in a head that only predicts.
        coder: Between boxes and what the head predicts; None for heads without boxes.
        channels: Values a prior in each branch, as far as they are known.
        num_levels: Levels of priors.
        num_bins: Bins of each side where boxes are distributions; 0 where they are numbers.
        on_grid: Whether the priors lie on a grid; proposals do not.
    """

    head: str
    terms: Sequence[LossTerm]
    sampler: Any
    num_classes: int
    assigner: Any = None
    coder: Any = None
    channels: Mapping[str, int] | None = None
    num_levels: int = 1
    num_bins: int = 0
    on_grid: bool = True


def check_pairing(parts: Any) -> None:
    """Refuse parts of a head that cannot work together.

    Args:
        parts: A :class:`Pairing`, or a head whose ``pairing()`` gives one.

    Raises:
        PairingError: Naming the term or part, and what to choose instead.
    """
    if not isinstance(parts, Pairing):
        parts = parts.pairing()
    _check_grid(parts)
    check_terms(parts.terms)
    for term in parts.terms:
        if term.level_weights is not None and len(term.level_weights) != parts.num_levels:
            raise ConfigError(
                f'{term.name}: {len(term.level_weights)} level_weights for '
                f'{parts.num_levels} levels'
            )
        if term.kind in BOX_KINDS:
            _check_box_term(term, parts)
        _try_loss(term, parts)
    needs = set(parts.sampler.needs) | set(getattr(parts.assigner, 'needs', ()))
    if 'row_loss' in needs:
        ranking_term(parts.terms, parts.sampler)


def _check_grid(parts: Pairing) -> None:
    """Rule (a): proposals have no cells for a grid assigner to look up."""
    if parts.on_grid or not getattr(parts.assigner, 'requires_grid', False):
        return
    raise PairingError(
        f'{type(parts.assigner).__name__} needs priors on a grid, but those of {parts.head} are '
        'bare boxes (proposals); choose an assigner that reads boxes alone, such as MaxIoUAssigner'
    )


def _check_box_term(term: LossTerm, parts: Pairing) -> None:
    """Boxes need a coder, distributions bins, and losses of logits a coder of sigmoids."""
    loss, coder = type(term.loss).__name__, parts.coder
    if coder is None:
        raise PairingError(
            f'{term.name}: {parts.head} has no bbox_coder, so it predicts no boxes for '
            f'{loss} to compare; leave the loss out, or give the head a bbox_coder'
        )
    if term.kind == 'distribution' and parts.num_bins < 2:
        raise PairingError(
            f'{term.name}: {loss} compares distributions over bins, but {parts.head} '
            'predicts one number a side; choose a loss of boxes, such as SmoothL1Loss or GIoULoss'
        )
    if term.kind == 'box_encoded' and declared(term.loss).reads_logits:
        low, high = (torch.tensor(bound) for bound in coder.bounds())
        part = slice(*term.columns) if term.columns is not None else slice(None)
        if low[part].min() < 0 or high[part].max() > 1:
            raise PairingError(
                f'{term.name}: {loss} compares logits with values from 0 to 1, but what '
                f'{type(coder).__name__} encodes here goes beyond; choose a loss of differences, '
                'such as L1Loss, or a coder whose output is a sigmoid'
            )


# A trial of each loss -------------------------------------------------------------------


def _try_loss(term: LossTerm, parts: Pairing) -> None:
    """Evaluate a loss on a few rows of the head's shape.

    What kinds cannot say comes out here: a loss set up for another number of classes, one
    that wants probabilities where the head gives logits, one of another calling convention.
    """
    _check_classes(term, parts)
    example = _example(term, parts)
    if example is None or _is_abstract(term.loss):
        return
    where = f'{term.name}: {type(term.loss).__name__} does not fit {parts.head}'
    pred, target = example
    options: dict[str, Any] = dict(averaging(term, torch.ones(())))
    with torch.no_grad(), unchanged_buffers(term.loss):
        try:
            value = call_loss(term.loss, pred, target, **options)
        except _TRIAL_ERRORS as error:
            raise PairingError(f'{where}: {error}; {_other_loss(term.loss)}') from error
    if not isinstance(value, Tensor) or value.dim():
        what = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise PairingError(
            f'{where}: expected one number, got {what}; check its reduction (mean or sum)'
        )
    if term.kind in BOX_KINDS and value < 0:
        raise PairingError(
            f'{where}: its value at boxes close to their targets is {float(value):g}, and no loss '
            f'of boxes is below 0; does it compare boxes of another kind than {term.kind!r}?'
        )
    if not torch.isfinite(value):
        raise PairingError(
            f'{where}: its value at small outputs of the head is {float(value)}; does it expect '
            'probabilities? The outputs are logits'
        )


def _check_classes(term: LossTerm, parts: Pairing) -> None:
    """A loss that is told the number of classes has to be told the head's."""
    given = declared(term.loss).num_classes
    if term.kind == 'classification' and given not in (None, parts.num_classes):
        raise PairingError(
            f'{term.name}: {type(term.loss).__name__} has num_classes={given}, but '
            f'{parts.head} has {parts.num_classes}; give the loss '
            f'num_classes={parts.num_classes}'
        )


def _example(term: LossTerm, parts: Pairing) -> tuple[Tensor, Any] | None:
    """A few predictions and targets of a term; None for branches of unknown size."""
    size = (parts.channels or {}).get(term.branch)
    if term.kind in BOX_KINDS:
        return _box_example(term, parts)
    if size is None or term.kind not in (*PER_PRIOR_KINDS, 'centerness'):
        return None
    pred = torch.linspace(-2, 2, 3 * size, device='cpu').reshape(3, size)
    if term.kind == 'centerness':
        return pred, torch.full_like(pred, 0.4)
    num_classes = 1 if term.kind == 'objectness' or term.background else parts.num_classes
    background = 0 if term.rows == 'positives' else num_classes
    labels = torch.tensor([num_classes - 1, 0, background], device='cpu')
    scores = torch.tensor([1.0, 0.6, 1.0], device='cpu')
    return pred, ClassTargets.from_labels(labels, num_classes, scores=scores)


def _box_example(term: LossTerm, parts: Pairing) -> tuple[Tensor, Any]:
    boxes = torch.tensor([[0.0, 0, 8, 8], [4, 2, 24, 20]], device='cpu')
    if term.kind == 'box_decoded':
        return boxes + 1, boxes
    if term.kind == 'distribution':
        return boxes.new_zeros(4, parts.num_bins), boxes.new_full((4,), 0.5)
    target = parts.coder.clamp_encoded(boxes.new_full((2, parts.coder.encode_size), 0.5))
    target = target if term.columns is None else target[:, slice(*term.columns)]
    return target + 0.1, target


def _other_loss(loss: Any) -> str:
    """What to choose in place of a loss that could not be called."""
    kind = type(loss)
    own = MODELS.module_dict.get(kind.__name__)
    if own is None or own is kind:
        return 'choose another loss for this term, or other settings of it'
    name = f'{SCOPE}.{kind.__name__}'
    return f'it is called by another convention; use type={name!r}, which takes the same arguments'


def _is_abstract(loss: nn.Module) -> bool:
    """Whether a loss has tensors without values (built on the meta device)."""
    tensors = [*loss.parameters(), *loss.buffers()] if isinstance(loss, nn.Module) else []
    return any(tensor.device.type != 'cpu' for tensor in tensors)
