"""Parts of this project in mmdet's heads, and mmdet's parts in ours, one pairing a row.

Each pairing is built from a config and run forward and backward on seeded feature maps; where
both projects have the part, the losses are compared. Needs mmdet 3.3 and mmcv-lite 2.1: see
``make mmdet-matrix``, which makes such an environment. mmcv's compiled operators are stood in
for by plain torch, as far as these heads call them.
"""

import argparse
import itertools
import logging
import sys
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from registry_losses import ops
from registry_losses.errors import RegistryLossesError

SIZE, CLASSES = 128, 4
STRIDES = (8, 16, 32)


# mmcv's compiled module -------------------------------------------------------------------


class StandIn(types.ModuleType):
    """``mmcv._ext`` with NMS and RoIAlign in plain torch; other operators say that they lack."""

    def __getattr__(self, name: str) -> Callable:
        if name.startswith('__'):
            raise AttributeError(name)

        def missing(*args: Any, **kwargs: Any) -> None:
            raise RuntimeError(f'mmcv._ext.{name}: not part of this stand-in')

        return missing

    @staticmethod
    def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int = 0) -> Tensor:
        """Indices kept, best first."""
        return ops.nms(boxes, scores, iou_threshold)

    @staticmethod
    def roi_align_forward(
        features: Tensor, rois: Tensor, output: Tensor, *_: Tensor, **o: Any
    ) -> None:
        """Writes ``output``."""
        output.copy_(_roi_align(features, rois, o))

    @staticmethod
    def roi_align_backward(
        grad: Tensor, rois: Tensor, _y: Tensor, _x: Tensor, out: Tensor, **o: Any
    ) -> None:
        """Writes the gradient of the features to ``out``."""
        with torch.enable_grad():
            features = torch.zeros_like(out, requires_grad=True)
            pooled = _roi_align(features, rois, o)
            out.copy_(torch.autograd.grad(pooled, features, grad)[0])


def _roi_align(features: Tensor, rois: Tensor, options: Mapping[str, Any]) -> Tensor:
    return ops.roi_align(
        features,
        rois,
        (options['aligned_height'], options['aligned_width']),
        options['spatial_scale'],
        options['sampling_ratio'],
        aligned=options['aligned'],
        backend='torch',
    )


# Heads ------------------------------------------------------------------------------------


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


def retina(**changes: Any) -> dict:
    """A RetinaNet head that both projects can build."""
    node = dict(
        type='RetinaHead',
        num_classes=CLASSES,
        in_channels=8,
        feat_channels=8,
        stacked_convs=1,
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
    node = dict(
        type='FCOSHead',
        num_classes=CLASSES,
        in_channels=8,
        feat_channels=8,
        stacked_convs=1,
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
    node = dict(
        type='YOLOXHead',
        num_classes=CLASSES,
        in_channels=8,
        feat_channels=8,
        stacked_convs=1,
        strides=STRIDES,
        train_cfg=dict(assigner=dict(type='SimOTAAssigner', center_radius=2.5)),
    )
    return _changed(node, changes)


def rtmdet(**changes: Any) -> dict:
    """Mmdet's RTMDet."""
    node = dict(
        type='RTMDetHead',
        num_classes=CLASSES,
        in_channels=8,
        feat_channels=8,
        stacked_convs=1,
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


# Running ----------------------------------------------------------------------------------


@dataclass
class Row:
    """One pairing and what came of it."""

    direction: str
    head: str
    part: str
    outcome: str
    detail: str


def scene() -> tuple[list[Tensor], list]:
    """Feature maps and annotated samples, the same each time."""
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    generator = torch.Generator().manual_seed(0)
    feats = [torch.randn(2, 8, SIZE // s, SIZE // s, generator=generator) for s in STRIDES]
    samples = []
    for index in range(2):
        shape = (SIZE, SIZE)
        sample = DetDataSample(
            metainfo=dict(
                img_shape=shape,
                pad_shape=shape,
                batch_input_shape=shape,
                img_id=index,
                scale_factor=(1.0, 1.0),
            )
        )
        boxes = torch.tensor([[8.0, 8, 40, 44], [60, 20, 120, 90], [30, 70, 62, 100]])
        sample.gt_instances = InstanceData(
            bboxes=boxes + 3 * index, labels=torch.arange(3) % CLASSES
        )
        sample.ignored_instances = InstanceData(
            bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long()
        )
        samples.append(sample)
    return feats, samples


def losses_of(head: Any, name: str) -> dict[str, float]:
    """The losses of a head on the scene, after a backward pass."""
    feats, samples = scene()
    if name == 'detr':
        states = torch.randn(1, 2, 20, 8, generator=torch.Generator().manual_seed(1))
        found = head.loss(states, samples)
    elif name == 'roi':
        from mmengine.structures import InstanceData

        generator = torch.Generator().manual_seed(2)
        proposals = []
        for sample in samples:
            gts = sample.gt_instances.bboxes.repeat(10, 1)
            moved = gts + torch.randn(gts.shape, generator=generator) * 8
            boxes = torch.cat((moved[:, :2], torch.maximum(moved[:, 2:], moved[:, :2] + 4)), dim=1)
            proposals.append(
                InstanceData(bboxes=boxes, priors=boxes, scores=torch.ones(len(boxes)))
            )
        found = head.loss(feats, proposals, samples)
    else:
        found = head.loss(feats, samples)
    flat = {}
    for key, value in found.items():
        flat[key] = sum(value) if isinstance(value, list) else value
    total = sum(value for key, value in flat.items() if 'loss' in key)
    total.backward()
    return {key: float(value.detach()) for key, value in flat.items() if 'loss' in key}


def filled(head: Any) -> Any:
    """The head with weights that depend on their names alone, small."""
    from registry_losses.testing import fill_from_names

    fill_from_names(head)
    return head.train()


def run(
    direction: str, head: str, part: str, node: dict, wanted: dict | None, build: Callable
) -> Row:
    """Build and run one pairing, and say what came of it."""
    try:
        found = losses_of(filled(build(node)), head)
    except RegistryLossesError as error:
        return Row(direction, head, part, 'refused', f'{error}')
    except Exception as error:  # the table is there to show those
        return Row(direction, head, part, 'RAW ERROR', f'{type(error).__name__}: {error}')
    values = ', '.join(f'{key} {value:.4g}' for key, value in found.items())
    if any(value != value or value < 0 or value == float('inf') for value in found.values()):
        return Row(direction, head, part, 'WRONG VALUE', values)
    if wanted is None:
        return Row(direction, head, part, 'trains', values)
    same = set(found) == set(wanted) and all(
        abs(found[key] - value) <= 1e-4 * max(abs(value), 1e-3) for key, value in wanted.items()
    )
    if same:
        return Row(direction, head, part, 'agrees', values)
    other = ', '.join(f'{key} {value:.4g}' for key, value in wanted.items())
    return Row(direction, head, part, 'DIFFERS', f'{values}; expected {other}')


OURS = 'registry_losses.'
HEADS: Mapping[str, Callable[..., dict]] = dict(
    retina=retina, atss=atss, fcos=fcos, yolox=yolox, rtmdet=rtmdet, detr=detr, roi=roi
)


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


def page(rows: list[Row]) -> str:
    """The table as a Markdown page."""
    import mmcv
    import mmdet

    def lines(direction: str) -> Iterator[str]:
        yield '| head | part | outcome | |'
        yield '|---|---|---|---|'
        for row in rows:
            if row.direction == direction:
                detail = ' '.join(row.detail.split()).replace('|', '\\|')
                yield f'| {row.head} | `{row.part}` | {row.outcome} | {detail[:220]} |'

    return '\n'.join(
        [
            '# Inside mmdet, and mmdet inside',
            '',
            f'Made by `make mmdet-matrix` with mmdet {mmdet.__version__}, mmcv-lite '
            f'{mmcv.__version__} (compiled operators stood in for by plain torch), torch '
            f'{torch.__version__.split("+")[0]}, on a CPU. Each row is one part of a head swapped '
            'in the config, built, and run forward and backward on seeded feature maps.',
            '',
            "agrees: every loss equals to 1e-4 that of the same head with the other project's "
            'part of that name. trains: finite losses, none below 0, where there is nothing to '
            'compare with. refused: an error of this project that says why.',
            '',
            "## Parts of this project in mmdet's heads",
            '',
            *lines('ours'),
            '',
            "## mmdet's parts in the heads of this project",
            '',
            *lines('theirs'),
            '',
        ]
    )


def main() -> None:
    """Run every pairing; exit status 1 where one ends in a raw error or a wrong value."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--page', type=Path, help='write the table to this Markdown file')
    parser.add_argument('--only', help='pairings whose "head part" holds this text')
    args = parser.parse_args()
    warnings.filterwarnings('ignore')
    logging.disable(logging.WARNING)
    sys.modules.setdefault('mmcv._ext', StandIn('mmcv._ext'))
    from mmdet.utils import register_all_modules

    import registry_losses.plugins

    register_all_modules(init_default_scope=True)
    del registry_losses
    rows = []
    for row in itertools.chain(ours_in_theirs(), theirs_in_ours()):
        if args.only and args.only not in f'{row.head} {row.part}':
            continue
        rows.append(row)
        start = f'{row.direction:7}{row.head:8}{row.part:52}{row.outcome:12}'
        print(start + row.detail[:150], flush=True)
    if args.page:
        args.page.write_text(page(rows), encoding='utf-8')
    bad = [row for row in rows if row.outcome.isupper()]
    print(f'{len(rows)} pairings, {len(bad)} with a raw error or a wrong value')
    sys.exit(bool(bad))


if __name__ == '__main__':
    main()
