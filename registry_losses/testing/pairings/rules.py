"""Where parts stand in each head, and which pairings have no meaning, by which rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from ...config.reading import accepted_keys
from ...registry import MODELS, TASK_UTILS
from ...structures.loss_term import BOX_KINDS
from .detectors import GRID_HEADS, build, head_config, head_of, node_at
from .parts import all_losses, assigner_names, kinds_of, node, sampler_names

RULES: Mapping[str, str] = {
    'grid': 'the assigner needs a grid of priors, and proposals have none',
    'kind': 'the loss does not compare what the term compares',
    'output': 'the loss needs what the head lacks: bins, a sigmoid of its boxes, more maps',
    'boxes': 'the head predicts no boxes to compare',
}


@dataclass(frozen=True)
class Place:
    """Where a part stands in a head's config.

    Args:
        name: ``assigner``, ``sampler``, or the key of a loss.
        node: Dotted place of the node that holds it.
        kinds: Of the terms that a loss there may serve; empty for other parts.
        arguments: Settings of parts that suit this head, by type.
    """

    name: str
    node: str
    kinds: tuple[str, ...] = ()
    arguments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)

    def choices(self) -> Mapping[str, dict[str, Any]]:
        """Every part that could be written there: label to config node."""
        if self.name == 'assigner':
            return {name: node(name, **self.arguments.get(name, {})) for name in assigner_names()}
        if self.name == 'sampler':
            return {name: node(name) for name in sampler_names()}
        return {
            label: dict(each, **self.arguments.get(each['type'], {}))
            for label, each in all_losses().items()
        }

    def serves(self, label: str) -> bool:
        """Whether a part is of the family that stands there."""
        return not self.kinds or bool(set(self.kinds) & set(kinds_of(label)))


@cache
def places(head: str) -> Mapping[str, Place]:
    """The parts of a head that may be changed, by name."""
    row, config = GRID_HEADS[head], head_config(head)
    found = {
        name: Place(name, row.settings, arguments=row.arguments) for name in ('assigner', 'sampler')
    }
    losses, built = node_at(config, row.losses), default_head(head)
    holder = loss_holder(built)
    by_loss = {id(term.loss): term for term in built.loss_terms}
    for key, value in losses.items():
        if key.startswith('loss_') and isinstance(value, dict) and 'type' in value:
            kind = by_loss[id(getattr(holder, key))].kind
            kinds = BOX_KINDS if kind in BOX_KINDS and key == 'loss_bbox' else (kind,)
            found[key] = Place(key, row.losses, kinds, row.arguments)
    # CenterNet and YOLOv3 take whole boxes in place of parts of their code.
    if 'loss_bbox' in accepted_keys(holder.__class__).names:
        found.setdefault('loss_bbox', Place('loss_bbox', row.losses, BOX_KINDS, row.arguments))
    return found


@cache
def default_head(head: str) -> Any:
    """The head as its config has it."""
    return head_of(build(head_config(head)), head)


def loss_holder(head: Any) -> Any:
    """What holds the losses as attributes: the head, or the layers of a RoI head."""
    return getattr(head, 'bbox_head', head)


def rule_against(head: str, place: str, label: str) -> str | None:
    """The rule of :data:`RULES` that forbids a part in a head; None if none does."""
    where, built = places(head)[place], default_head(head)
    if place == 'assigner':
        kind = TASK_UTILS.get(label)
        return 'grid' if kind.requires_grid and not has_grid(built) else None
    if place == 'sampler':
        return None
    kinds = set(kinds_of(label))
    if not kinds & set(where.kinds):
        return 'kind'
    if not set(where.kinds) & set(BOX_KINDS):
        return 'output' if _ranks_more_maps(built, place, label) else None
    if getattr(built, 'bbox_coder', None) is None:
        return 'boxes'
    if 'box_decoded' in kinds and 'box_decoded' in where.kinds:
        return None
    if kinds & set(where.kinds) == {'distribution'}:
        return 'output' if getattr(built, 'num_bins', 0) < 2 else None
    activation = MODELS.build(dict(all_losses()[label])).activation
    return 'output' if activation == 'sigmoid' and not _encodes_shares(built, place) else None


def _ranks_more_maps(head: Any, place: str, label: str) -> bool:
    """Whether a loss of the hardest maps asks for more maps than its term has."""
    own = getattr(loss_holder(head), place)
    branch = next(t.branch for t in head.loss_terms if t.loss is own)
    topk = getattr(MODELS.build(dict(all_losses()[label])), 'topk', 0)
    return topk > head.pairing().channels.get(branch, topk)


def has_grid(head: Any) -> bool:
    """Whether the head's priors lie on a grid."""
    return getattr(head, 'prior_generator', None) is not None


def _encodes_shares(head: Any, place: str) -> bool:
    """Whether all that a loss at this place compares are shares from 0 to 1."""
    low, high = head.bbox_coder.bounds()
    own = getattr(loss_holder(head), place, None)
    terms = [t for t in head.loss_terms if t.loss is own and own is not None]
    columns = terms[0].columns if terms else None
    part = slice(*columns) if columns is not None else slice(None)
    return min(low[part]) >= 0 and max(high[part]) <= 1
