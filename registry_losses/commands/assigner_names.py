"""Assigners named on a command line: ``ATSS``, ``SimOTA(center_radius=1.5)``, ``config``."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from ..assigners import BaseAssigner, WrappedAssigner, wrap_assigner
from ..config.reading import accepted_keys
from ..errors import ConfigError, nearest_names
from ..registry import TASK_UTILS
from .cli import OWN_ASSIGNER

# Arguments of assigners that have no default: those of the systems they come from.
PRESETS: Mapping[str, Mapping[str, Any]] = {
    'MaxIoUAssigner': dict(pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0),
    'GridAssigner': dict(pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0),
    'ApproxMaxIoUAssigner': dict(pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0),
    'CenterRegionAssigner': dict(pos_scale=0.2, neg_scale=0.5),
    'TopkHungarianAssigner': dict(topk=4),
    'UniformAssigner': dict(pos_ignore_thr=0.15, neg_ignore_thr=0.7),
}


def assigner_names() -> list[str]:
    """The registered assigners that a name can build."""
    found = {k: v for k, v in TASK_UTILS.module_dict.items() if k.endswith('Assigner')}
    return [k for k, v in found.items() if v is not WrappedAssigner and hasattr(v, 'assign')]


def parse_assigner(text: str) -> tuple[str, dict[str, Any]]:
    """``SimOTA`` or ``SimOTAAssigner(center_radius=1.5)`` as a name and a config node.

    Raises:
        ConfigError: If there is no such assigner, or the arguments are not literals.
    """
    name, bracket, _ = text.partition('(')
    kind = name if name.endswith('Assigner') else f'{name}Assigner'
    known = assigner_names()
    if kind not in known:
        near = nearest_names(kind, known)
        hint = f'; nearest: {", ".join(near)}' if near else ''
        raise ConfigError(f'--assigners: no assigner {name!r}{hint}')
    given = {}
    if bracket:
        try:
            call = ast.parse(text, mode='eval').body
            given = {k.arg: ast.literal_eval(k.value) for k in call.keywords}  # type: ignore[attr-defined]
        except (SyntaxError, ValueError, AttributeError) as error:
            raise ConfigError(
                f'--assigners: expected NAME or NAME(key=value, ...), got {text!r}'
            ) from error
    return text.replace('Assigner', ''), dict(PRESETS.get(kind, {}), **given, type=kind)


def build_assigners(names: Sequence[str], own: Any) -> dict[str, BaseAssigner]:
    """The assigners to compare, by what to call them."""
    found: dict[str, BaseAssigner] = {}
    for name in names:
        if name == OWN_ASSIGNER:
            if own is None:
                raise ConfigError('--assigners config: the config trains without an assigner')
            found[f'{type(own).__name__.replace("Assigner", "")} (config)'] = own
        else:
            label, node = parse_assigner(name)
            keys = accepted_keys(TASK_UTILS.get(node['type']))
            for key in [] if keys.open else sorted(set(node) - {'type', *keys.names}):
                near = ', '.join(nearest_names(key, keys.names) or sorted(keys.names))
                raise ConfigError(f'--assigners {name}: no option {key!r}; nearest: {near}')
            found[label] = wrap_assigner(TASK_UTILS.build(node))
    return found
