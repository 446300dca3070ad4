"""OpenMMLab's config keys: the one list of what is translated and what is refused.

A key of mmdet, mmyolo or mmpose that means something here is translated; the rest are
refused with the reason. A class that takes a key itself is never interfered with: the
list speaks only where the key would otherwise be unknown.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, MutableMapping
from functools import partial
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from ..errors import ConfigError
from .compat_heads import Settings, complete_head
from .compat_table import TABLE, Entry, inner_node
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
    'YOLOX': 'SingleStageDetector',
    'RTMDet': 'SingleStageDetector',
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
    'fp16': "write optim_wrapper=dict(type='AmpOptimWrapper'), or use --amp",
    'resume_from': 'use --resume PATH',
}
"""Top-level keys of OpenMMLab that have another place here, with that place."""

_TTA = "dropped: read only by mmdet's --tta; test-time augmentation is not handled"
DROPPED_TOP_LEVEL_KEYS: Mapping[str, str] = {
    'tta_model': _TTA,
    'tta_pipeline': _TTA,
    'tta_cfg': _TTA,
    'cudnn_benchmark': 'dropped: write env_cfg=dict(cudnn_benchmark=True); mmdet 3 ignores it too',
}
"""Top-level keys that files of mmdet bear and that change nothing there or here."""

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
        *(f'| `{k}` | the top level | {v} |' for k, v in DROPPED_TOP_LEVEL_KEYS.items()),
        '',
        '| type | here |',
        '|---|---|',
        *(f'| `{old}` | `{new}` |' for old, new in TYPE_NAMES.items()),
        *(f'| `{old}` | refused: {reason} |' for old, reason in REFUSED_TYPES.items()),
        '',
    ]
    return '\n'.join(rows)


def translate_config(cfg: Config, *, helpers: Collection[str] = ()) -> list[str]:
    """Translate OpenMMLab's keys in place.

    Args:
        cfg: The config.
        helpers: Top-level keys that are variables of the files, whatever their names.

    Returns:
        One line for each key that was changed, also written to the log.

    Raises:
        ConfigError: Naming every key that cannot be carried over, with the reason.
    """
    old = [k for k in cfg if k in OLD_TOP_LEVEL_KEYS and k not in helpers]
    problems = [f'{k}: {OLD_TOP_LEVEL_KEYS[k]}.' for k in old]
    notes: list[str] = []
    for key in [k for k in cfg if k in DROPPED_TOP_LEVEL_KEYS]:
        cfg._cfg_dict.pop(key)
        notes.append(f'{key} {DROPPED_TOP_LEVEL_KEYS[key]}')
    notes += _leave_out_drawing(cfg)
    whole = {key: cfg[key] for key in cfg}
    # Names first: what a detector's settings may hold depends on the types of its heads.
    for path, node in child_nodes(whole):
        _translate_type(path, node, notes)
    settings = _settings_of_heads(whole)
    for path, node in child_nodes(whole):
        _translate_node(path, node, settings.get(id(node)), notes, problems)
    for note in notes:
        print_log(f'config: {note}', logger='current')
    if problems:
        raise ConfigError('\n'.join(problems))
    return notes


def _leave_out_drawing(cfg: Config) -> list[str]:
    """Mmdet's hook of pictures, which draws nothing unless its ``draw`` says so."""
    hooks = cfg.get('default_hooks')
    names = [
        name
        for name, hook in (hooks.items() if isinstance(hooks, Mapping) else ())
        if isinstance(hook, Mapping) and hook.get('type') == 'DetVisualizationHook'
    ]
    for name in names:
        if hooks[name].get('draw') and find_type('DetVisualizationHook') is None:
            raise ConfigError(
                f'default_hooks.{name}: DetVisualizationHook draws nothing here; '
                "write dict(type='DrawPredictionsHook', out_dir=...), or test with --show-dir"
            )
    names = [n for n in names if find_type('DetVisualizationHook') is None]
    for name in names:
        hooks[name] = None
    return [f'default_hooks.{name} left out: DetVisualizationHook without draw' for name in names]


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


def _settings_of_heads(whole: Any) -> dict[int, Settings]:
    """Where the ``train_cfg`` of each detector's heads is: in the detector."""
    found: dict[int, Settings] = {}
    for _, node in child_nodes(whole):
        parts = part_keys(node, 'train_cfg')
        if parts is None and isinstance(node.get('bbox_head'), MutableMapping):
            found[id(node['bbox_head'])] = partial(inner_node, node, 'train_cfg')
        elif parts is not None and isinstance(node.get('rpn_head'), MutableMapping):
            found[id(node['rpn_head'])] = partial(_part_of, node, 'rpn')
    return found


def _part_of(detector: MutableMapping, part: str) -> MutableMapping:
    return inner_node(inner_node(detector, 'train_cfg'), part)


def _translate_node(
    path: str,
    node: MutableMapping,
    settings: Settings | None,
    notes: list[str],
    problems: list[str],
) -> None:
    name = node.get('type')
    found = find_type(node.get('type'))
    if found is None:
        if isinstance(name, str) and name in REFUSED_TYPES:
            problems.append(f'{path}.type: {name}: {REFUSED_TYPES[name]}.')
        return
    if settings is None or node.get('train_cfg') is not None:
        settings = partial(inner_node, node, 'train_cfg')
    notes += [f'{path}: {note}' for note in complete_head(node, settings)]
    accepted = accepted_keys(found)
    _apply('component', path, node, accepted.names, accepted.open, notes, problems, settings)
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
    settings: Settings | None = None,
) -> None:
    for key in list(node):
        entry = _BY_KEY.get((holder, key))
        if entry is None or key in accepted or anything:
            continue
        try:
            if entry.move is not None and settings is not None:
                done = entry.move(settings, key, node.pop(key))
            else:
                done = entry.action(node, key, node[key])  # type: ignore[misc]
            notes.append(f'{path}.{key} {done}')
        except ConfigError as error:
            problems.append(f'{path}.{key}: {error}.')


if __name__ == '__main__':
    print(describe_table(), end='')
