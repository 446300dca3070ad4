"""OpenMMLab's config keys: the one list of what is translated and what is refused.

A key of mmdet, mmyolo or mmpose that means something here is translated; the rest are
refused with the reason. A class that takes a key itself is never interfered with: the
list speaks only where the key would otherwise be unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from ..errors import ConfigError
from .compat_table import TABLE, Entry
from .reading import accepted_keys, child_nodes, declared_keys, find_type, part_keys

TYPE_NAMES: Mapping[str, str] = {
    'RetinaNet': 'SingleStageDetector',
    'FCOS': 'SingleStageDetector',
    'ATSS': 'SingleStageDetector',
    'GFL': 'SingleStageDetector',
    'PAA': 'SingleStageDetector',
    'TOOD': 'SingleStageDetector',
    'VFNet': 'SingleStageDetector',
    'CenterNet': 'SingleStageDetector',
    'YOLOV3': 'SingleStageDetector',
    'YOLODetector': 'SingleStageDetector',
    'FasterRCNN': 'TwoStageDetector',
    'StandardRoIHead': 'RoIHead',
    'RetinaSepBNHead': 'RetinaHead',
    'DetLocalVisualizer': 'DetVisualizer',
    'BatchSyncRandomResize': 'BatchRandomResize',
}
"""OpenMMLab's names of what is one class here."""

_CASCADE = 'RoI heads of several stages are not built; TwoStageDetector has one'
REFUSED_TYPES: Mapping[str, str] = {
    'CascadeRCNN': _CASCADE,
    'CascadeRoIHead': _CASCADE,
    'MaskRCNN': 'instance masks are not handled',
    'AnchorHead': 'it is a base class; RetinaHead, SSDHead, RPNHead and ATSSHead'
    ' are the heads with anchors',
    'DETR': 'heads of queries are not built; HungarianAssigner serves any head',
}
"""OpenMMLab's classes that have no counterpart here, with the reason."""

OLD_TOP_LEVEL_KEYS: Mapping[str, str] = {
    'optimizer': 'write optim_wrapper=dict(optimizer=...)',
    'optimizer_config': 'write optim_wrapper=dict(clip_grad=...)',
    'lr_config': 'write param_scheduler=[...]',
    'runner': 'write train_cfg=dict(by_epoch=True, max_epochs=...)',
    'total_epochs': 'write train_cfg=dict(by_epoch=True, max_epochs=...)',
    'data': 'write train_dataloader, val_dataloader and test_dataloader',
    'evaluation': 'write val_evaluator, and train_cfg=dict(val_interval=...)',
    'checkpoint_config': 'write default_hooks=dict(checkpoint=...)',
    'log_config': 'write default_hooks=dict(logger=...)',
    'workflow': 'write train_cfg and val_cfg',
    'dist_params': "write env_cfg=dict(dist_cfg=dict(backend='nccl'))",
    'cudnn_benchmark': 'write env_cfg=dict(cudnn_benchmark=True)',
    'fp16': "write optim_wrapper=dict(type='AmpOptimWrapper'), or use --amp",
    'resume_from': 'use --resume PATH',
    'tta_model': 'test-time augmentation is not handled; remove it',
    'tta_pipeline': 'test-time augmentation is not handled; remove it',
    'tta_cfg': 'test-time augmentation is not handled; remove it',
}
"""Top-level keys of OpenMMLab that have another place here, with that place."""

_BY_KEY: dict[tuple[str, str], Entry] = {(e.holder, e.key): e for e in TABLE}


def describe_table() -> str:
    """The list as a Markdown page; ``docs/openmmlab_keys.md`` holds it."""
    places = {'component': 'a component', 'train_cfg': '`train_cfg`', 'test_cfg': '`test_cfg`'}
    rows = [
        '# OpenMMLab config keys',
        '',
        'A key that the class itself reads is never touched. Made by',
        '`python -m registry_losses.config.compat`.',
        '',
        '| key | in | what becomes of it |',
        '|---|---|---|',
        *(f'| `{e.key}` | {places[e.holder]} | {e.effect} |' for e in TABLE),
        *(f'| `{k}` | the top level | refused: {v} |' for k, v in OLD_TOP_LEVEL_KEYS.items()),
        '',
        '| type | here |',
        '|---|---|',
        *(f'| `{old}` | `{new}` |' for old, new in TYPE_NAMES.items()),
        *(f'| `{old}` | refused: {reason} |' for old, reason in REFUSED_TYPES.items()),
        '',
    ]
    return '\n'.join(rows)


def translate_config(cfg: Config) -> list[str]:
    """Translate OpenMMLab's keys in place.

    Returns:
        One line for each key that was changed, also written to the log.

    Raises:
        ConfigError: Naming every key that cannot be carried over, with the reason.
    """
    problems = [f'{k}: {OLD_TOP_LEVEL_KEYS[k]}.' for k in cfg if k in OLD_TOP_LEVEL_KEYS]
    notes: list[str] = []
    whole = {key: cfg[key] for key in cfg}
    # Names first: what a detector's settings may hold depends on the types of its heads.
    for path, node in child_nodes(whole):
        _translate_type(path, node, notes)
    for path, node in child_nodes(whole):
        _translate_node(path, node, notes, problems)
    for note in notes:
        print_log(f'config: {note}', logger='current')
    if problems:
        raise ConfigError('\n'.join(problems))
    return notes


def _translate_type(path: str, node: MutableMapping, notes: list[str]) -> None:
    name = node.get('type')
    # Outside of a detector such a name is a mistake: ATSS for ATSSAssigner.
    alone = name in (
        'DetLocalVisualizer',
        'StandardRoIHead',
        'RetinaSepBNHead',
        'BatchSyncRandomResize',
    )
    detector = path == 'model' or 'backbone' in node or alone
    if detector and isinstance(name, str) and name in TYPE_NAMES and find_type(name) is None:
        node['type'] = TYPE_NAMES[name]
        notes.append(f'{path}.type: {name} is {TYPE_NAMES[name]} here')


def _translate_node(path: str, node: MutableMapping, notes: list[str], problems: list[str]) -> None:
    name = node.get('type')
    found = find_type(node.get('type'))
    if found is None:
        if isinstance(name, str) and name in REFUSED_TYPES:
            problems.append(f'{path}.type: {name}: {REFUSED_TYPES[name]}.')
        return
    accepted = accepted_keys(found)
    _apply('component', path, node, accepted.names, accepted.open, notes, problems)
    for holder in ('train_cfg', 'test_cfg'):
        settings = node.get(holder)
        if not isinstance(settings, MutableMapping):
            continue
        parts = part_keys(node, holder)
        places: dict[str, tuple[Any, frozenset[str] | None]]
        places = {holder: (settings, declared_keys(node, holder))}
        if parts is not None:
            places = {f'{holder}.{k}': (settings.get(k), keys) for k, keys in parts.items()}
        for place, (inner, keys) in places.items():
            if keys is not None and isinstance(inner, MutableMapping):
                kind = 'test_cfg' if place.endswith('rpn_proposal') else holder
                _apply(kind, f'{path}.{place}', inner, keys, False, notes, problems)


def _apply(
    holder: str,
    path: str,
    node: MutableMapping,
    accepted: frozenset[str],
    anything: bool,
    notes: list[str],
    problems: list[str],
) -> None:
    for key in list(node):
        entry = _BY_KEY.get((holder, key))
        if entry is None or key in accepted or anything:
            continue
        try:
            notes.append(f'{path}.{key} {entry.action(node, key, node[key])}')
        except ConfigError as error:
            problems.append(f'{path}.{key}: {error}.')


if __name__ == '__main__':
    print(describe_table(), end='')
