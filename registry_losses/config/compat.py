"""OpenMMLab's config keys: the one list of what is translated and what is refused.

A key of mmdet, mmyolo or mmpose that means something here is translated; the rest are
refused with the reason. A class that takes a key itself is never interfered with: the
list speaks only where the key would otherwise be unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from ..errors import ConfigError
from .reading import accepted_keys, child_nodes, declared_keys, find_type, part_keys

Action = Callable[[MutableMapping, str, Any], str]
"""Changes the node that holds a key; returns what it did. Raises ConfigError to refuse."""


@dataclass(frozen=True)
class Entry:
    """What becomes of one OpenMMLab key.

    Attributes:
        key: The key.
        action: See :data:`Action`.
        effect: One line for the documentation.
        holder: Where it is looked for: 'component' (beside a ``type``), 'train_cfg' or
            'test_cfg' (below one).
    """

    key: str
    action: Action
    effect: str
    holder: str = 'component'


def _drop(reason: str, *, harmless: Callable[[Any], bool] = lambda v: True) -> Action:
    """Remove the key where its value asks for what happens anyway; else refuse."""

    def action(node: MutableMapping, key: str, value: Any) -> str:
        if not harmless(value):
            raise ConfigError(reason)
        del node[key]
        return f'dropped: {reason}'

    return action


def _refuse(reason: str) -> Action:
    """Refuse unless the value switches the thing off."""
    return _drop(reason, harmless=lambda v: v is None or v is False)


def _rename(new: str) -> Action:
    def action(node: MutableMapping, key: str, value: Any) -> str:
        if new in node:
            raise ConfigError(f'stands beside {new}, which means the same here; keep one')
        node[new] = node.pop(key)
        return f'renamed to {new}'

    return action


def _inner(node: MutableMapping, key: str) -> MutableMapping:
    # ConfigDict.setdefault stores a copy of what it returns.
    if node.get(key) is None:
        node[key] = {}
    return node[key]


def _decoded_boxes(node: MutableMapping, key: str, value: Any) -> str:
    # Here the loss term says on which boxes it is computed; by default its loss decides.
    del node[key]
    if not value:
        return "dropped: the loss's own kind decides (encoded boxes for L1 and its kin)"
    _inner(_inner(node, 'loss_terms'), 'loss_bbox').setdefault('kind', 'box_decoded')
    return "translated to loss_terms.loss_bbox.kind='box_decoded'"


def _merge_head_module(node: MutableMapping, key: str, value: Any) -> str:
    module = dict(node.pop(key))
    module.pop('type', None)
    for name, item in module.items():
        node.setdefault(name, item)
    return 'merged into the head: layers and losses are one class here'


def _flatten_mmyolo_assigner(node: MutableMapping, key: str, value: Any) -> str:
    assigner = _inner(_inner(node, 'train_cfg'), 'assigner')
    assigner.setdefault('type', 'YOLOV5Assigner')
    assigner.setdefault(key, node.pop(key))
    return f'moved to train_cfg.assigner.{key}'


def _iou_mode(node: MutableMapping, key: str, value: Any) -> str:
    names = {'iou': 'IoULoss', 'giou': 'GIoULoss', 'ciou': 'CIoULoss', 'siou': 'SIoULoss'}
    if value not in names:
        raise ConfigError(f'expected one of {", ".join(names)}, got {value!r}')
    del node[key]
    node['type'] = names[value]
    return f'translated to type={names[value]!r}'


def _is_one(value: Any) -> bool:
    return value is None or value <= 0 or value == 1


def _is_linear(value: Any) -> bool:
    return value is None or (str(value.get('type', 'Linear')).endswith('Linear') and len(value) < 2)


TABLE: tuple[Entry, ...] = (
    # heads
    Entry('anchor_generator', _rename('prior_generator'), 'renamed to prior_generator'),
    Entry('loss_center_heatmap', _rename('loss_cls'), 'renamed to loss_cls'),
    Entry('reg_decoded_bbox', _decoded_boxes, "True: loss_terms.loss_bbox.kind='box_decoded'"),
    Entry('head_module', _merge_head_module, 'merged into the head'),
    Entry('prior_match_thr', _flatten_mmyolo_assigner, 'moved to train_cfg.assigner'),
    Entry('near_neighbor_thr', _flatten_mmyolo_assigner, 'moved to train_cfg.assigner'),
    Entry('featmap_strides', _drop('the prior generator has them'), 'dropped: see the priors'),
    Entry('num_base_priors', _drop('the prior generator has it'), 'dropped: see the priors'),
    Entry(
        'widen_factor',
        _drop('write the channels themselves', harmless=lambda v: v == 1),
        'refused unless 1: write the channels',
    ),
    Entry('iou_mode', _iou_mode, 'IoULoss becomes GIoULoss, CIoULoss or SIoULoss'),
    Entry(
        'bbox_format',
        _drop('box losses are computed on corners', harmless=lambda v: v in ('xyxy', 'xywh')),
        'dropped: boxes are corners here',
    ),
    Entry('return_iou', _drop('heads compute overlaps themselves'), 'dropped'),
    Entry(
        'assign_by_circumhbbox',
        _drop('rotated boxes are not handled', harmless=lambda v: v in (None, '')),
        'refused: no rotated boxes',
    ),
    Entry(
        'num_dcn',
        _drop('deformable convolutions are not handled', harmless=lambda v: not v),
        'refused unless 0: no deformable convolutions',
    ),
    Entry(
        'dcn_on_last_conv',
        _refuse('deformable convolutions are not handled'),
        'refused: no deformable convolutions',
    ),
    Entry(
        'sync_num_pos', _drop('normalisers are always means over the ranks'), 'dropped: always so'
    ),
    Entry(
        'sync_cls_avg_factor',
        _drop('normalisers are always means over the ranks'),
        'dropped: always so',
    ),
    # heads of two stages
    Entry(
        'cls_predictor_cfg',
        _drop('the last layer is a plain linear one', harmless=_is_linear),
        'refused unless Linear',
    ),
    Entry(
        'reg_predictor_cfg',
        _drop('the last layer is a plain linear one', harmless=_is_linear),
        'refused unless Linear',
    ),
    Entry('with_cls', _drop('the head has both branches', harmless=bool), 'dropped if True'),
    Entry('with_reg', _drop('the head has both branches', harmless=bool), 'dropped if True'),
    Entry('shared_head', _refuse('RoI heads have no shared stage of a backbone'), 'refused'),
    Entry('mask_head', _refuse('instance masks are not handled'), 'refused: no masks'),
    Entry('mask_roi_extractor', _refuse('instance masks are not handled'), 'refused: no masks'),
    # components in general
    Entry('conv_cfg', _refuse('this component has plain convolutions only'), 'refused unless None'),
    Entry('dcn', _refuse('deformable convolutions are not handled'), 'refused unless None'),
    Entry('plugins', _refuse('plugin layers are not handled'), 'refused unless None'),
    Entry('with_cp', _refuse('use the top-level activation_checkpointing instead'), 'refused'),
    Entry('gpu_assign_thr', _drop('no assigner here needs the host'), 'dropped'),
    Entry(
        'iou_calculator',
        _drop(
            'this assigner measures plain IoU only',
            harmless=lambda v: v is None or str(v.get('type', '')).endswith('BboxOverlaps2D'),
        ),
        'refused unless BboxOverlaps2D',
    ),
    Entry('init_cfg', _refuse('this component has no weights to initialise'), 'refused'),
    # data preprocessor
    Entry('boxtype2tensor', _drop('boxes are always tensors'), 'dropped: boxes are tensors'),
    Entry('pad_mask', _refuse('instance masks are not handled'), 'refused: no masks'),
    Entry('mask_pad_value', _drop('instance masks are not handled'), 'dropped: no masks'),
    Entry('pad_seg', _refuse('segmentation maps are not handled'), 'refused: no segmentation'),
    Entry('seg_pad_value', _drop('segmentation maps are not handled'), 'dropped'),
    # transforms and metrics
    Entry('with_mask', _refuse('instance masks are not handled'), 'refused: no masks'),
    Entry('with_seg', _refuse('segmentation maps are not handled'), 'refused: no segmentation'),
    Entry('poly2mask', _drop('instance masks are not handled'), 'dropped: no masks'),
    Entry(
        'box_type',
        _drop('only horizontal boxes', harmless=lambda v: v in (None, 'hbox')),
        'refused unless hbox',
    ),
    Entry('format_only', _refuse('write the results with tools/test.py --out'), 'refused'),
    # train_cfg
    Entry(
        'pos_weight',
        _drop(
            "weigh positives in the loss instead: loss_cls.class_weight or FocalLoss's alpha",
            harmless=_is_one,
        ),
        'dropped if 1 or negative (off), else refused',
        'train_cfg',
    ),
    Entry('debug', _refuse('it has no effect here'), 'dropped if False', 'train_cfg'),
    Entry(
        'allowed_border',
        _drop('this head has no anchors that cross the border', harmless=lambda v: v < 0),
        'dropped if negative (off)',
        'train_cfg',
    ),
    Entry(
        'initial_epoch',
        _refuse('an assigner that changes during training is not handled'),
        'refused',
        'train_cfg',
    ),
    Entry(
        'initial_assigner',
        _refuse('an assigner that changes during training is not handled'),
        'refused',
        'train_cfg',
    ),
    Entry('mask_size', _drop('instance masks are not handled'), 'dropped: no masks', 'train_cfg'),
    # test_cfg
    Entry(
        'multi_label',
        _drop('every class above score_thr counts', harmless=bool),
        'dropped if True',
        'test_cfg',
    ),
    Entry('yolox_style', _refuse('mmyolo detail without meaning here'), 'refused', 'test_cfg'),
    Entry('with_nms', _drop('NMS is decided by nms', harmless=bool), 'dropped if True', 'test_cfg'),
)

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
    'DetLocalVisualizer': 'DetVisualizer',
}
"""OpenMMLab's names of what is one class here."""

_CASCADE = 'RoI heads of several stages are not built; TwoStageDetector has one'
REFUSED_TYPES: Mapping[str, str] = {
    'CascadeRCNN': _CASCADE,
    'CascadeRoIHead': _CASCADE,
    'MaskRCNN': 'instance masks are not handled',
    'DETR': 'heads of queries are not built; HungarianAssigner serves any head',
}
"""OpenMMLab's detectors that have no counterpart here, with the reason."""

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
    alone = name in ('DetLocalVisualizer', 'StandardRoIHead')
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
