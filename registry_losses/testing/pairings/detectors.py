"""Small detectors: a row of the grid is a head of one of the ``*_tiny`` models."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from mmengine.config import Config

from ...config import configs_folder
from ...engine import build_model

CLASSES = 4
SIZE = 96

# Narrower than the configs' own: the layers of the head stay what they are.
_WIDTHS = (8, 16, 24, 32)


@dataclass(frozen=True)
class GridHead:
    """A head of a small detector, and where its parts stand in the model's node.

    Args:
        model: File ``configs/_base_/models/MODEL_tiny.py``.
        changes: To make it smaller.
        losses: Dotted place of the node that holds the losses.
        settings: Dotted place of the node that holds assigner and sampler.
        head: Attribute of the model.
        arguments: Settings of parts that suit this head's priors, by type.
    """

    model: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    losses: str = 'bbox_head'
    settings: str = 'train_cfg'
    head: str = 'bbox_head'
    arguments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


_TOWER = dict(bbox_head=dict(in_channels=16, feat_channels=16))
_TWO_STAGES = dict(
    rpn_head=dict(in_channels=16, feat_channels=16),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=16),
        bbox_head=dict(in_channels=16, fc_out_channels=32, num_classes=CLASSES),
    ),
)
# A joint's box is larger than a cell's, whichever the cell.
_JOINTS = dict(
    UniformAssigner=dict(pos_ignore_thr=0.02, neg_ignore_thr=0.7),
    # A fifth of a joint's box seldom holds the centre of a cell.
    CenterRegionAssigner=dict(pos_scale=0.8, neg_scale=0.9),
)
GRID_HEADS: Mapping[str, GridHead] = {
    'retinanet': GridHead('retinanet', _TOWER),
    'fcos': GridHead('fcos', _TOWER),
    'atss': GridHead('atss', _TOWER),
    'gfl': GridHead('gfl', _TOWER),
    'paa': GridHead('paa', _TOWER),
    # The assigner and the loss of a cell from the first step on.
    'tood': GridHead(
        'tood',
        dict(
            bbox_head=dict(_TOWER['bbox_head'], initial_loss_cls=None),
            train_cfg=dict(initial_assigner=None),
        ),
    ),
    'yolox': GridHead(
        'yolox', dict(_TOWER, neck=dict(in_channels=[8, 16, 24], out_channels=16))
    ),
    'rtmdet': GridHead(
        'rtmdet', dict(_TOWER, neck=dict(in_channels=[8, 16, 24], out_channels=16))
    ),
    'ppyoloe': GridHead(
        'ppyoloe',
        dict(
            bbox_head=dict(in_channels=16),
            neck=dict(in_channels=[8, 16, 24], out_channels=16),
            train_cfg=dict(initial_assigner=None),
        ),
    ),
    'ssd': GridHead('ssd', dict(bbox_head=dict(in_channels=(16, 16, 16)))),
    'centernet': GridHead('centernet', _TOWER),
    'yolov1': GridHead(
        'yolov1',
        dict(bbox_head=dict(in_channels=24, bbox_coder=dict(input_size=(SIZE, SIZE)))),
        # A fifth of a gt seldom holds the centre of one of 36 cells.
        arguments=dict(CenterRegionAssigner=dict(pos_scale=0.5, neg_scale=0.7)),
    ),
    'yolov3': GridHead(
        'yolov3',
        dict(
            neck=dict(in_channels=[24, 16, 8], out_channels=[16, 16, 16]),
            bbox_head=dict(in_channels=[16, 16, 16], out_channels=[16, 16, 16]),
        ),
    ),
    'yolov4': GridHead(
        'yolov4',
        dict(
            neck=dict(in_channels=[8, 16, 24]),
            bbox_head=dict(in_channels=[8, 16, 24], out_channels=[16, 16, 16]),
        ),
    ),
    'yolov5': GridHead(
        'yolov5',
        dict(neck=dict(in_channels=[8, 16, 24]), bbox_head=dict(in_channels=[8, 16, 24])),
    ),
    'ae': GridHead(
        'ae',
        dict(head=dict(in_channels=16, conv_out_channels=(24,))),
        losses='head', head='head', arguments=_JOINTS,
    ),
    'openpose': GridHead(
        'openpose',
        dict(
            head=dict(
                in_channels=16,
                stages=[dict(kernels=(3,), channels=(24,))],
                loss_background=dict(type='KeypointMSELoss'),
            )
        ),
        losses='head', head='head', arguments=_JOINTS,
    ),
    'rpn': GridHead(
        'faster_rcnn', _TWO_STAGES, losses='rpn_head', settings='train_cfg.rpn', head='rpn_head',
        arguments={
            name: dict(num_classes=1) for name in ('SeesawLoss', 'EQLV2Loss', 'EqualizedFocalLoss')
        },
    ),
    'roi': GridHead(
        'faster_rcnn', _TWO_STAGES, losses='roi_head.bbox_head', settings='train_cfg.rcnn',
        head='roi_head',
    ),
}  # fmt: skip
HEADS = tuple(GRID_HEADS)


@cache
def _head_config(head: str) -> Config:
    row = GRID_HEADS[head]
    cfg = Config.fromfile(configs_folder() / '_base_' / 'models' / f'{row.model}_tiny.py').model
    changes = copy.deepcopy(dict(row.changes))
    indices, stages = cfg.backbone.get('out_indices'), len(cfg.backbone.widths)
    small = dict(widths=_WIDTHS[:stages], depths=(0,) * stages)
    changes['backbone'] = dict(small, type='TinyNet', _delete_=True, out_indices=indices)
    changes['data_preprocessor'] = None
    if cfg.get('neck') is not None and cfg.neck.type == 'FPN':
        changes['neck'] = dict(in_channels=list(_WIDTHS[:stages]), out_channels=16)
    if 'bbox_head' in changes:
        changes['bbox_head'] = dict(changes['bbox_head'], num_classes=CLASSES)
    whole = Config(dict(model=cfg))
    whole.merge_from_dict(dict(model=changes))
    return whole.model


def head_config(head: str) -> dict[str, Any]:
    """The model node of a small detector, to be changed at will."""
    return _head_config(head).to_dict()


def node_at(config: Any, place: str) -> Any:
    """What stands at a dotted place of nested mappings."""
    for key in place.split('.'):
        config = config[key]
    return config


def head_of(model: Any, head: str) -> Any:
    """The head that a row of the grid looks at."""
    return getattr(model, GRID_HEADS[head].head)


def build(config: Mapping[str, Any]) -> Any:
    """The detector of a model node, its keys checked, as in training."""
    torch.manual_seed(0)
    model: Any = build_model(Config(dict(model=copy.deepcopy(dict(config)))))
    model.init_weights()
    return model.train()
