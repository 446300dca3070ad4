"""Config nodes of heads that both projects can build, small ones; and parts swapped in them."""

from collections.abc import Callable, Mapping
from typing import Any

CLASSES = 4
STRIDES = (8, 16, 32)


def anchors() -> dict:
    """The anchors of RetinaNet."""
    return dict(
        type='AnchorGenerator',
        octave_base_scale=4,
        scales_per_octave=1,
        ratios=[1.0],
        strides=list(STRIDES),
    )


def max_iou() -> dict:
    """RetinaNet's assigner."""
    return dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0)


def _tower(name: str, **parts: Any) -> dict:
    """A head of one convolution before its outputs, on maps of 8 channels."""
    return dict(
        type=name,
        num_classes=CLASSES,
        in_channels=8,
        feat_channels=8,
        stacked_convs=1,
        **parts,
    )


def retina(**changes: Any) -> dict:
    """A RetinaNet head that both projects can build."""
    node = _tower(
        'RetinaHead',
        prior_generator=anchors(),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
        loss_cls=dict(type='FocalLoss', use_sigmoid=True),
        loss_bbox=dict(type='L1Loss'),
        train_cfg=dict(assigner=max_iou(), sampler=dict(type='PseudoSampler'), allowed_border=-1),
    )
    return _changed(node, changes)


def atss(**changes: Any) -> dict:
    """An ATSS head that both projects can build."""
    node = retina()
    node.update(
        type='ATSSHead',
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
        loss_centerness=dict(type='CrossEntropyLoss', use_sigmoid=True),
        norm_cfg=dict(type='GN', num_groups=2),
    )
    node['bbox_coder'] = dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2])
    node['train_cfg'] = dict(assigner=dict(type='ATSSAssigner', topk=9), allowed_border=-1)
    return _changed(node, changes)


def fcos(**changes: Any) -> dict:
    """Mmdet's FCOS, whose targets are its own; losses alone can be swapped."""
    node = _tower(
        'FCOSHead',
        strides=list(STRIDES),
        regress_ranges=((-1, 64), (64, 128), (128, 1e8)),
        norm_cfg=dict(type='GN', num_groups=2),
        loss_cls=dict(type='FocalLoss', use_sigmoid=True),
        loss_bbox=dict(type='IoULoss'),
        loss_centerness=dict(type='CrossEntropyLoss', use_sigmoid=True),
    )
    return _changed(node, changes)


def yolox(**changes: Any) -> dict:
    """Mmdet's YOLOX."""
    node = _tower(
        'YOLOXHead',
        strides=STRIDES,
        train_cfg=dict(assigner=dict(type='SimOTAAssigner', center_radius=2.5)),
    )
    return _changed(node, changes)


def rtmdet(**changes: Any) -> dict:
    """Mmdet's RTMDet."""
    node = _tower(
        'RTMDetHead',
        with_objectness=False,
        norm_cfg=dict(type='BN'),
        anchor_generator=dict(type='MlvlPointGenerator', offset=0, strides=list(STRIDES)),
        bbox_coder=dict(type='DistancePointBBoxCoder'),
        loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0),
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
        train_cfg=dict(
            assigner=dict(type='DynamicSoftLabelAssigner', topk=13),
            allowed_border=-1,
            pos_weight=-1,
        ),
    )
    return _changed(node, changes)


def detr(**changes: Any) -> dict:
    """Mmdet's DETR head, on the outputs of its decoder."""
    costs = [
        dict(type='ClassificationCost', weight=1.0),
        dict(type='BBoxL1Cost', weight=5.0, box_format='xywh'),
        dict(type='IoUCost', iou_mode='giou', weight=2.0),
    ]
    node = dict(
        type='DETRHead',
        num_classes=CLASSES,
        embed_dims=8,
        loss_cls=dict(
            type='CrossEntropyLoss', bg_cls_weight=0.1, use_sigmoid=False, class_weight=1.0
        ),
        loss_bbox=dict(type='L1Loss', loss_weight=5.0),
        loss_iou=dict(type='GIoULoss', loss_weight=2.0),
        train_cfg=dict(assigner=dict(type='HungarianAssigner', match_costs=costs)),
    )
    return _changed(node, changes)


def roi(**changes: Any) -> dict:
    """Mmdet's RoI head."""
    node = dict(
        type='StandardRoIHead',
        bbox_roi_extractor=dict(
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=3, sampling_ratio=0),
            out_channels=8,
            featmap_strides=list(STRIDES),
        ),
        bbox_head=dict(
            type='Shared2FCBBoxHead',
            in_channels=8,
            fc_out_channels=8,
            roi_feat_size=3,
            num_classes=CLASSES,
            bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2]),
            loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False),
            loss_bbox=dict(type='L1Loss'),
        ),
        train_cfg=dict(
            assigner=dict(
                type='MaxIoUAssigner',
                pos_iou_thr=0.5,
                neg_iou_thr=0.5,
                min_pos_iou=0.5,
                match_low_quality=False,
            ),
            # Every assigned positive and negative takes part, so that runs compare.
            sampler=dict(
                type='RandomSampler',
                num=10_000,
                pos_fraction=1.0,
                neg_pos_ub=-1,
                add_gt_as_proposals=True,
            ),
            pos_weight=-1,
            debug=False,
        ),
    )
    return _changed(node, changes)


def _changed(node: dict, changes: Mapping[str, Any]) -> dict:
    """The node with dotted keys replaced; ``__`` stands for the dot."""
    for key, value in changes.items():
        *path, last = key.split('__')
        holder = node
        for word in path:
            holder = holder[word]
        holder[last] = value
    return node


HEADS: Mapping[str, Callable[..., dict]] = dict(
    retina=retina, atss=atss, fcos=fcos, yolox=yolox, rtmdet=rtmdet, detr=detr, roi=roi
)
