"""The registered parts that may stand in a head, each as a config node."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from ...registry import MODELS, TASK_UTILS
from .detectors import CLASSES

# Arguments without a default, and those that depend on the number of classes.
ARGUMENTS: Mapping[str, Mapping[str, Any]] = {
    'MaxIoUAssigner': dict(pos_iou_thr=0.5, neg_iou_thr=0.4),
    'GridAssigner': dict(pos_iou_thr=0.5, neg_iou_thr=0.5),
    'ApproxMaxIoUAssigner': dict(pos_iou_thr=0.5, neg_iou_thr=0.4),
    'CenterRegionAssigner': dict(pos_scale=0.2, neg_scale=0.5),
    'TopkHungarianAssigner': dict(topk=4),
    'UniformAssigner': dict(pos_ignore_thr=0.15, neg_ignore_thr=0.7),
    'WrappedAssigner': dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4)),
    'RandomSampler': dict(num=64, pos_fraction=0.5),
    'OHEMSampler': dict(num=64, pos_fraction=0.5),
    'IoUBalancedNegSampler': dict(num=64, pos_fraction=0.5),
    'SeesawLoss': dict(num_classes=CLASSES),
    'EQLV2Loss': dict(num_classes=CLASSES),
    'EqualizedFocalLoss': dict(num_classes=CLASSES),
}


def node(name: str, **options: Any) -> dict[str, Any]:
    """A config node of a registered part."""
    return dict(type=name, **{**ARGUMENTS.get(name, {}), **options})


def assigner_names() -> list[str]:
    """Every registered assigner, aliases once."""
    return _names(TASK_UTILS, 'Assigner')


def sampler_names() -> list[str]:
    """Every registered sampler, aliases once."""
    return _names(TASK_UTILS, 'Sampler')


def _names(registry: Any, suffix: str) -> list[str]:
    found: dict[type, str] = {}
    for name, kind in registry.module_dict.items():
        if name.endswith(suffix) and kind.__module__.startswith('registry_losses.'):
            found.setdefault(kind, name)
    return sorted(found.values())


@cache
def all_losses() -> Mapping[str, dict[str, Any]]:
    """Every registered loss, aliases once, in each of its activations: label to node."""
    found: dict[type, str] = {}
    for name, target in MODELS.module_dict.items():
        if target.__module__.startswith('registry_losses.losses'):
            found.setdefault(target, name)
    return {
        label: node(name, **options)
        for target, name in sorted(found.items(), key=lambda pair: pair[1])
        for label, options in _forms(name, target)
    }


def _forms(name: str, target: type) -> Iterator[tuple[str, dict[str, Any]]]:
    yield name, {}
    if 'activation' in inspect.signature(target).parameters:
        yield f'{name}-sigmoid', dict(activation='sigmoid')
        yield f'{name}-softmax', dict(activation='softmax')


@cache
def kinds_of(label: str) -> tuple[str, ...]:
    """The kinds of terms that a loss serves."""
    return tuple(getattr(MODELS.build(dict(all_losses()[label])), 'kinds', ()))


@cache
def loss_nodes(kind: str) -> Mapping[str, dict[str, Any]]:
    """Every registered loss that serves a kind of term, in each of its activations."""
    return {label: dict(n) for label, n in all_losses().items() if kind in kinds_of(label)}
