"""The table of OpenMMLab's config keys, and what becomes of each; :mod:`.compat` applies it."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError
from .reading import accepted_keys, find_type

Action = Callable[[MutableMapping, str, Any], str]
"""Changes the node that holds a key; returns what it did. Raises ConfigError to refuse."""

Move = Callable[[Callable[[], MutableMapping], str, Any], str]
"""Puts a head's value where its train_cfg is, be it the detector's or its own; likewise."""


@dataclass(frozen=True)
class Entry:
    """What becomes of one OpenMMLab key.

    Attributes:
        key: The key.
        action: See :data:`Action`.
        effect: One line for the documentation.
        holder: Where it is looked for: 'component' (beside a ``type``), 'train_cfg' or
            'test_cfg' (below one).
        move: In place of the action, for a value that goes to the train_cfg.
    """

    key: str
    action: Action | None
    effect: str
    holder: str = 'component'
    move: Move | None = None


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


def inner_node(node: MutableMapping, key: str) -> MutableMapping:
    """The node below a key, made where there is none."""
    # ConfigDict.setdefault stores a copy of what it returns.
    if node.get(key) is None:
        node[key] = {}
    return node[key]


def _decoded_boxes(node: MutableMapping, key: str, value: Any) -> str:
    # Here the loss term says on which boxes it is computed; by default its loss decides.
    del node[key]
    if not value:
        return "dropped: the loss's own kind decides (encoded boxes for L1 and its kin)"
    inner_node(inner_node(node, 'loss_terms'), 'loss_bbox').setdefault('kind', 'box_decoded')
    return "translated to loss_terms.loss_bbox.kind='box_decoded'"


def _merge_head_module(node: MutableMapping, key: str, value: Any) -> str:
    module = dict(node.pop(key))
    module.pop('type', None)
    for name, item in module.items():
        node.setdefault(name, item)
    return 'merged into the head: layers and losses are one class here'


def _to_assigner(name: str) -> Move:
    # Heads of OpenMMLab that assign by themselves; here their assigner has these settings.
    def move(settings: Callable[[], MutableMapping], key: str, value: Any) -> str:
        assigner = inner_node(settings(), 'assigner')
        kind = assigner.setdefault('type', name)
        if str(kind).rpartition('.')[2] != name:
            raise ConfigError(
                f'it is a setting of {name}, but train_cfg.assigner is {kind}; remove one of them'
            )
        if assigner.setdefault(key, value) != value:
            raise ConfigError(
                f'{value!r} stands against {assigner[key]!r} in train_cfg.assigner; keep one'
            )
        return f'moved to train_cfg.assigner.{key}'

    return move


def _iou_mode(node: MutableMapping, key: str, value: Any) -> str:
    names = {'iou': 'IoULoss', 'giou': 'GIoULoss', 'ciou': 'CIoULoss', 'siou': 'SIoULoss'}
    if value not in names:
        raise ConfigError(f'expected one of {", ".join(names)}, got {value!r}')
    del node[key]
    node['type'] = names[value]
    return f'translated to type={names[value]!r}'


def _to_inner_assigner(node: MutableMapping, key: str, value: Any) -> str:
    inner_node(node, 'assigner').setdefault(key, node.pop(key))
    return f'moved to assigner.{key}'


def _proposal_nums(node: MutableMapping, key: str, value: Any) -> str:
    numbers = tuple(node.pop(key) or ())
    if 'max_dets' not in accepted_keys(find_type(node['type'])).names or not numbers:
        return 'dropped: every detection counts'
    node.setdefault('max_dets', numbers)
    return f'renamed to max_dets={numbers}'


def _of_boxes(value: Any) -> bool:
    names = [value] if isinstance(value, str) else list(value or [])
    return all(name in ('bbox', 'mAP') for name in names)


def _is_one(value: Any) -> bool:
    return value is None or value <= 0 or value == 1


def _is_linear(value: Any) -> bool:
    return value is None or (str(value.get('type', 'Linear')).endswith('Linear') and len(value) < 2)


def _moved(key: str, assigner: str) -> Entry:
    return Entry(key, None, 'moved to train_cfg.assigner', move=_to_assigner(assigner))


TABLE: tuple[Entry, ...] = (
    # heads
    Entry('anchor_generator', _rename('prior_generator'), 'renamed to prior_generator'),
    Entry('loss_center_heatmap', _rename('loss_cls'), 'renamed to loss_cls'),
    Entry('reg_decoded_bbox', _decoded_boxes, "True: loss_terms.loss_bbox.kind='box_decoded'"),
    Entry('head_module', _merge_head_module, 'merged into the head'),
    _moved('prior_match_thr', 'YOLOV5Assigner'),
    _moved('near_neighbor_thr', 'YOLOV5Assigner'),
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
        'covariance_type', _drop('losses are one number each'), 'dropped: losses are single numbers'
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
    # mmdet's AnchorHead and FCOSHead
    _moved('regress_ranges', 'FCOSAssigner'),
    _moved('center_sampling', 'FCOSAssigner'),
    _moved('center_sample_radius', 'FCOSAssigner'),
    Entry('num_ins', _rename('norm_per_level'), 'renamed to norm_per_level'),
    Entry(
        'stacked_convs',
        _drop('this head has no tower of convolutions', harmless=lambda v: not v),
        'refused unless 0: this head has no tower',
    ),
    Entry('feat_channels', _drop('this head has no tower of convolutions'), 'dropped: no tower'),
    Entry(
        'use_depthwise', _refuse('this head has plain convolutions only'), 'refused unless False'
    ),
    Entry('norm_cfg', _refuse('this component has no norm layers'), 'refused unless None'),
    Entry('act_cfg', _refuse('this component has no activation of choice'), 'refused unless None'),
    Entry(
        'one_hot_smoother',
        _drop('smooth in the loss: loss_cls.label_smoothing', harmless=lambda v: not v),
        'refused unless 0: loss_cls.label_smoothing',
    ),
    Entry('cls_assigner', _refuse('a class has one assigner for all its losses'), 'refused'),
    # losses
    Entry(
        'pos_weight',
        _drop(
            "weigh positives by class_weight, or by FocalLoss's alpha",
            harmless=lambda v: v is None or v == 1,
        ),
        "dropped if None or 1, else refused: class_weight, or FocalLoss's alpha",
    ),
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
    Entry(
        'metric',
        _drop('this metric evaluates boxes only', harmless=_of_boxes),
        "dropped if 'bbox' or 'mAP', else refused",
    ),
    Entry('proposal_nums', _proposal_nums, 'renamed to max_dets; dropped for VOC'),
    Entry('metric_items', _refuse('all figures are always reported'), 'refused unless None'),
    Entry('sort_categories', _refuse('classes are in the order of metainfo'), 'refused'),
    Entry('use_mp_eval', _drop('evaluation is fast in one process'), 'dropped'),
    Entry('scale_ranges', _refuse('VOC figures are over all sizes'), 'refused unless None'),
    Entry(
        'file_client_args',
        _drop(
            "write backend_args=dict(backend='...')",
            harmless=lambda v: not v or dict(v) == dict(backend='disk'),
        ),
        'dropped if the disk, else refused: write backend_args',
    ),
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
    *(
        Entry(key, _refuse('this head has one assigner'), 'refused: one assigner', 'train_cfg')
        for key in ('initial_epoch', 'initial_assigner')
    ),
    *(
        Entry(key, _to_inner_assigner, 'moved to train_cfg.assigner', 'train_cfg')
        for key in ('alpha', 'beta')
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
