"""The pairings: which part goes into which head, and with what its losses are compared."""

from collections.abc import Iterator, Mapping
from typing import Any

from heads import CLASSES, HEADS, anchors, max_iou
from running import Row, filled, losses_of, run

OURS = 'registry_losses.'


def scoped(node: Any, scope: str) -> Any:
    """The node with the scope before its type, and before those inside it."""
    if isinstance(node, Mapping):
        out = {key: scoped(value, scope) for key, value in node.items()}
        if 'type' in out:
            out['type'] = scope + out['type']
        return out
    if isinstance(node, (list, tuple)):
        return type(node)(scoped(value, scope) for value in node)
    return node


def build_mmdet(node: dict) -> Any:
    """Mmdet's head of a node; its older heads call the prior generator by another name."""
    from mmdet.registry import MODELS
    from mmengine.config import ConfigDict

    node = dict(node)
    if 'prior_generator' in node:
        node['anchor_generator'] = node.pop('prior_generator')
    if 'train_cfg' in node:
        node['train_cfg'] = ConfigDict(node['train_cfg'], pos_weight=-1, debug=False)
    test_cfg = dict(nms_pre=100, min_bbox_size=0, score_thr=0.05, max_per_img=100)
    if node['type'] != 'DETRHead':
        node['test_cfg'] = ConfigDict(test_cfg, nms=dict(type='nms', iou_threshold=0.6))
    return MODELS.build(ConfigDict(node))


def ours_in_theirs() -> Iterator[Row]:
    """Our losses, assigners, samplers, coders and priors in mmdet's heads."""

    def at(head: str, key: str) -> Any:
        node: Any = HEADS[head]()
        for word in key.split('__'):
            node = node[word]
        return node

    same = [
        ('retina', 'loss_cls'),
        ('retina', 'loss_bbox'),
        ('retina', 'bbox_coder'),
        ('retina', 'prior_generator'),
        ('retina', 'train_cfg__assigner'),
        ('retina', 'train_cfg__sampler'),
        ('atss', 'train_cfg__assigner'),
        ('atss', 'loss_bbox'),
        ('atss', 'loss_centerness'),
        ('fcos', 'loss_cls'),
        ('fcos', 'loss_bbox'),
        ('yolox', 'train_cfg__assigner'),
        ('rtmdet', 'train_cfg__assigner'),
        ('rtmdet', 'loss_cls'),
        ('rtmdet', 'loss_bbox'),
        ('rtmdet', 'bbox_coder'),
        ('detr', 'train_cfg__assigner'),
        ('detr', 'loss_iou'),
        ('detr', 'loss_bbox'),
        ('roi', 'train_cfg__assigner'),
        ('roi', 'train_cfg__sampler'),
        ('roi', 'bbox_head__loss_cls'),
        ('roi', 'bbox_head__loss_bbox'),
        ('roi', 'bbox_head__bbox_coder'),
    ]
    baselines: dict[str, dict] = {}
    for head, key in same:
        if head not in baselines:
            baselines[head] = losses_of(filled(build_mmdet(HEADS[head]())), head)
        part = scoped(at(head, key), OURS)
        node = HEADS[head](**{key: part})
        where = key.rpartition('__')[2]
        yield run('ours', head, f'{where}: {part["type"]}', node, baselines[head], build_mmdet)
    other = [
        ('retina', 'loss_cls', dict(type='GHMC', use_sigmoid=True)),
        ('retina', 'loss_cls', dict(type='CrossEntropyLoss', use_sigmoid=True)),
        ('retina', 'loss_bbox', dict(type='SmoothL1Loss')),
        ('retina', 'train_cfg__assigner', dict(type='ATSSAssigner', topk=9)),
        ('retina', 'train_cfg__assigner', dict(type='SimOTAAssigner')),
        ('retina', 'train_cfg__assigner', dict(type='DynamicSoftLabelAssigner')),
        ('roi', 'train_cfg__sampler', dict(type='RandomSampler', num=16, pos_fraction=0.25)),
        (
            'roi',
            'train_cfg__sampler',
            dict(type='IoUBalancedNegSampler', num=16, pos_fraction=0.25),
        ),
        ('roi', 'train_cfg__sampler', dict(type='OHEMSampler', num=16, pos_fraction=0.25)),
    ]
    for head, key, part in other:
        part = scoped(part, OURS)
        where = key.rpartition('__')[2]
        yield run(
            'ours', head, f'{where}: {part["type"]}', HEADS[head](**{key: part}), None, build_mmdet
        )


def theirs_in_ours() -> Iterator[Row]:
    """Mmdet's parts in our heads; where we have the part, with the same result."""
    from mmengine.registry import DefaultScope

    from registry_losses.registry import MODELS

    DefaultScope.get_instance('ours', scope_name='registry_losses')
    parts = [
        ('retina', 'loss_cls', dict(type='FocalLoss', use_sigmoid=True)),
        ('retina', 'loss_cls', dict(type='CrossEntropyLoss', use_sigmoid=True)),
        ('retina', 'loss_cls', dict(type='CrossEntropyLoss', use_sigmoid=False)),
        ('retina', 'loss_cls', dict(type='QualityFocalLoss')),
        ('retina', 'loss_cls', dict(type='VarifocalLoss')),
        ('retina', 'loss_cls', dict(type='GHMC')),
        ('retina', 'loss_cls', dict(type='SeesawLoss', num_classes=CLASSES)),
        ('retina', 'loss_cls', dict(type='EQLV2Loss', num_classes=CLASSES)),
        ('retina', 'loss_bbox', dict(type='L1Loss')),
        ('retina', 'loss_bbox', dict(type='SmoothL1Loss', beta=0.1)),
        ('retina', 'loss_bbox', dict(type='BalancedL1Loss')),
        ('retina', 'loss_bbox', dict(type='MSELoss')),
        ('retina', 'loss_bbox', dict(type='GHMR')),
        ('retina', 'loss_bbox', dict(type='IoULoss')),
        ('retina', 'loss_bbox', dict(type='BoundedIoULoss')),
        ('retina', 'loss_bbox', dict(type='GIoULoss')),
        ('retina', 'loss_bbox', dict(type='DIoULoss')),
        ('retina', 'loss_bbox', dict(type='CIoULoss')),
        ('retina', 'loss_bbox', dict(type='EIoULoss')),
        ('retina', 'loss_bbox', dict(type='DistributionFocalLoss')),
        ('retina', 'bbox_coder', dict(type='DeltaXYWHBBoxCoder')),
        ('retina', 'bbox_coder', dict(type='TBLRBBoxCoder')),
        ('atss', 'bbox_coder', dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2])),
        ('retina', 'prior_generator', anchors()),
        ('retina', 'train_cfg__assigner', max_iou()),
        ('retina', 'train_cfg__assigner', dict(type='ATSSAssigner', topk=9)),
        ('atss', 'train_cfg__assigner', dict(type='ATSSAssigner', topk=9)),
        ('retina', 'train_cfg__assigner', dict(type='SimOTAAssigner')),
        ('retina', 'train_cfg__assigner', dict(type='TaskAlignedAssigner', topk=9)),
        ('retina', 'train_cfg__assigner', dict(type='DynamicSoftLabelAssigner')),
        (
            'retina',
            'train_cfg__assigner',
            dict(type='UniformAssigner', pos_ignore_thr=0.15, neg_ignore_thr=0.7),
        ),
        ('retina', 'train_cfg__sampler', dict(type='PseudoSampler')),
        ('retina', 'train_cfg__sampler', dict(type='RandomSampler', num=64, pos_fraction=0.5)),
    ]
    for head, key, part in parts:
        where = key.rpartition('__')[2]
        try:
            twin = losses_of(filled(MODELS.build(HEADS[head](**{key: dict(part)}))), head)
        except Exception:  # there is no twin here
            twin = None
        theirs = dict(part, type='mmdet.' + part['type'])
        node = HEADS[head](**{key: theirs})
        yield run('theirs', head, f'{where}: {theirs["type"]}', node, twin, MODELS.build)
