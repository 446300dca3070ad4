"""What heads of MMDetection make by themselves and heads here are given: priors, coder, assigner.

A head node without ``prior_generator`` is in MMDetection's form. What its class there would
have made, its default losses included, is written into the node, so that it means the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

Settings = Callable[[], MutableMapping]
"""Gives the ``train_cfg`` of a head, made where there is none."""

_FCOS_RANGES = ((-1, 64), (64, 128), (128, 256), (256, 512), (512, float('inf')))


def complete_head(node: MutableMapping, settings: Settings) -> list[str]:
    """Write into a head of MMDetection's form what its class there makes by itself, in place.

    Args:
        node: Any node with a ``type``.
        settings: See :data:`Settings`.

    Returns:
        What was added or changed, one line each; nothing for other nodes.
    """
    complete = _HEADS.get(str(node.get('type', '')).rpartition('.')[2])
    if complete is None or 'prior_generator' in node or 'anchor_generator' in node:
        return []
    return complete(node, settings)


def _fcos(node: MutableMapping, settings: Settings) -> list[str]:
    strides = list(node.setdefault('strides', [4, 8, 16, 32, 64]))
    coder: dict[str, Any] = dict(type='DistancePointBBoxCoder')
    coder.update(node.get('bbox_coder') or {})
    if node.get('norm_on_bbox'):
        coder.setdefault('normalize_by_stride', True)
    notes = _add(
        node,
        prior_generator=dict(type='MlvlPointGenerator', strides=strides),
        loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25),
        loss_bbox=dict(type='IoULoss'),
        loss_centerness=dict(type='CrossEntropyLoss', use_sigmoid=True),
    )
    node['bbox_coder'] = coder
    notes += _own_assigner(settings(), 'FCOSAssigner')
    usual = strides == [8, 16, 32, 64, 128]
    if not usual and settings()['assigner']['type'] == 'FCOSAssigner':
        # By default ours follow the strides, and those of mmdet do not.
        node.setdefault('regress_ranges', _FCOS_RANGES)
    return notes


def _yolox(node: MutableMapping, settings: Settings) -> list[str]:
    strides = list(node.pop('strides', (8, 16, 32)))
    loss = dict(type='CrossEntropyLoss', use_sigmoid=True)
    notes = _add(
        node,
        prior_generator=dict(type='MlvlPointGenerator', strides=strides),
        bbox_coder=dict(type='YOLOXBBoxCoder', from_corner=True, clip_border=False),
        loss_cls=loss,
        loss_bbox=dict(type='IoULoss', mode='square', eps=1e-16, loss_weight=5.0),
        loss_obj=dict(loss),
        loss_l1=dict(type='L1Loss'),
    )
    for name in ('loss_cls', 'loss_bbox', 'loss_obj', 'loss_l1'):
        # There a sum, which the head divides by the positives; here the mean over them.
        if isinstance(node[name], MutableMapping) and node[name].get('reduction') == 'sum':
            del node[name]['reduction']
            notes.append(f"{name}.reduction='sum' dropped: the head divides by the positives")
    return notes


def _add(node: MutableMapping, **parts: dict) -> list[str]:
    added = [name for name in parts if name not in node]
    for name in added:
        node[name] = parts[name]
    return [f'{", ".join(added)} as the head of mmdet makes them'] if added else []


def _own_assigner(settings: MutableMapping, name: str) -> list[str]:
    given = settings.get('assigner')
    if not isinstance(given, Mapping):
        settings['assigner'] = dict(type=name)
        return [f'train_cfg.assigner is {name}, the rule of the head of mmdet']
    if str(given.get('type', '')).rpartition('.')[2] == 'MaxIoUAssigner':
        # Files of mmdet 2 bear it, and the head there never reads it.
        settings['assigner'] = dict(type=name)
        return [
            f'train_cfg.assigner: MaxIoUAssigner gives way to {name}: the head of mmdet assigns by'
            ' itself and never reads it'
        ]
    return []


_HEADS: Mapping[str, Callable[[MutableMapping, Settings], list[str]]] = {
    'FCOSHead': _fcos,
    'YOLOXHead': _yolox,
}
