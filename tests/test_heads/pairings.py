"""Small detectors of every kind, and what a pairing of their parts has to do.

Shapes: B images, N priors, K pairs.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.structures import InstanceData
from torch import Tensor, nn

from registry_losses.engine import build_model
from registry_losses.heads import LossInputs, evaluate_terms
from registry_losses.registry import MODELS, TASK_UTILS
from registry_losses.structures import DetDataSample, GroundTruth

MODEL_FILES = Path(__file__).parents[2] / 'configs' / '_base_' / 'models'
HEADS = ('retinanet', 'fcos', 'atss', 'ssd', 'centernet', 'yolov1', 'yolov3', 'yolov4', 'yolov5')
CLASSES = 4
SIZE = 96

# Narrower than the configs' own: the layers of the head stay what they are.
_WIDTHS = dict(type='TinyNet', widths=(8, 16, 24), depths=(0, 0, 0))
_CHANGES: Mapping[str, Mapping[str, Any]] = {
    'retinanet': dict(bbox_head=dict(in_channels=16, feat_channels=16)),
    'fcos': dict(bbox_head=dict(in_channels=16, feat_channels=16)),
    'atss': dict(bbox_head=dict(in_channels=16, feat_channels=16)),
    'ssd': dict(bbox_head=dict(in_channels=(16, 16, 16))),
    'centernet': dict(
        neck=dict(in_channels=24, num_deconv_filters=(16, 16)),
        bbox_head=dict(in_channels=16, feat_channels=16),
    ),
    'yolov1': dict(bbox_head=dict(in_channels=24, bbox_coder=dict(input_size=(SIZE, SIZE)))),
    'yolov3': dict(
        neck=dict(in_channels=[24, 16, 8], out_channels=[16, 16, 16]),
        bbox_head=dict(in_channels=[16, 16, 16], out_channels=[16, 16, 16]),
    ),
    'yolov4': dict(
        neck=dict(in_channels=[8, 16, 24]),
        bbox_head=dict(in_channels=[8, 16, 24], out_channels=[16, 16, 16]),
    ),
    'yolov5': dict(neck=dict(in_channels=[8, 16, 24]), bbox_head=dict(in_channels=[8, 16, 24])),
}
_FPN = dict(in_channels=[8, 16, 24], out_channels=16)

# Arguments without a default, and those that depend on the number of classes.
ARGUMENTS: Mapping[str, Mapping[str, Any]] = {
    'MaxIoUAssigner': dict(pos_iou_thr=0.5, neg_iou_thr=0.4),
    'GridAssigner': dict(pos_iou_thr=0.5, neg_iou_thr=0.5),
    'UniformAssigner': dict(pos_ignore_thr=0.15, neg_ignore_thr=0.7),
    'WrappedAssigner': dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4)),
    'RandomSampler': dict(num=64, pos_fraction=0.5),
    'OHEMSampler': dict(num=64, pos_fraction=0.5),
    'IoUBalancedNegSampler': dict(num=64, pos_fraction=0.5),
    'SeesawLoss': dict(num_classes=CLASSES),
}


def node(name: str, **options: Any) -> dict[str, Any]:
    """A config node of a registered part."""
    return dict(type=name, **{**ARGUMENTS.get(name, {}), **options})


def head_config(head: str) -> dict[str, Any]:
    """The model node of a small detector."""
    cfg = Config.fromfile(MODEL_FILES / f'{head}_tiny.py').model
    changes = copy.deepcopy(dict(_CHANGES[head]))
    backbone = dict(_WIDTHS, _delete_=True, out_indices=cfg.backbone.get('out_indices'))
    changes['backbone'] = backbone
    changes['data_preprocessor'] = None
    if cfg.neck is not None and cfg.neck.type == 'FPN':
        changes['neck'] = _FPN
    changes['bbox_head'] = dict(changes['bbox_head'], num_classes=CLASSES)
    whole = Config(dict(model=cfg))
    whole.merge_from_dict(dict(model=changes))
    return whole.model.to_dict()


def assigner_names() -> list[str]:
    """Every registered assigner, aliases once."""
    return _names(TASK_UTILS, 'Assigner')


def sampler_names() -> list[str]:
    """Every registered sampler."""
    return _names(TASK_UTILS, 'Sampler')


def _names(registry, suffix: str) -> list[str]:
    found: dict[type, str] = {}
    for name, kind in registry.module_dict.items():
        if name.endswith(suffix) and kind.__module__.startswith('registry_losses.'):
            found.setdefault(kind, name)
    return sorted(found.values())


@cache
def loss_nodes(kind: str) -> dict[str, dict[str, Any]]:
    """Every registered loss that serves a kind of term, in each of its activations."""
    found = {}
    for name, target in sorted(MODELS.module_dict.items()):
        if not target.__module__.startswith('registry_losses.losses'):
            continue
        for label, options in _forms(name, target):
            built = MODELS.build(node(name, **options))
            if kind in getattr(built, 'kinds', ()):
                found[label] = node(name, **options)
    return found


def _forms(name: str, target: type) -> Iterator[tuple[str, dict[str, Any]]]:
    yield name, {}
    if name in ('CrossEntropyLoss', 'FocalLoss', 'PolyLoss'):
        yield f'{name}-sigmoid', dict(activation='sigmoid')
        yield f'{name}-softmax', dict(activation='softmax')


def gts(size: int = SIZE, count: int = 8) -> list[DetDataSample]:
    """Two images with gts of all sizes from 8 pixels to two thirds of the image."""
    samples = []
    for image in range(2):
        generator = torch.Generator().manual_seed(image)
        height = torch.logspace(0.9, 1.8, count)[:, None]
        ratio = torch.rand(count, 1, generator=generator) * 0.5 + 0.6
        half = torch.cat((height * ratio, height), dim=1) / 2
        room = size - 2 * half
        center = half + room * torch.rand(count, 2, generator=generator)
        sample = DetDataSample(
            metainfo=dict(
                img_shape=(size, size),
                pad_shape=(size, size),
                batch_input_shape=(size, size),
                img_id=image,
            )
        )
        sample.gt_instances = InstanceData(
            bboxes=torch.cat((center - half, center + half), dim=1),
            labels=torch.arange(count) % CLASSES,
        )
        samples.append(sample)
    return samples


def images(samples: list[DetDataSample], size: int = SIZE) -> Tensor:
    """Noise in which each class paints its boxes in a colour of its own."""
    generator = torch.Generator().manual_seed(7)
    out = torch.randn(len(samples), 3, size, size, generator=generator) * 0.2
    colours = torch.randn(CLASSES, 3, generator=generator)
    for image, sample in zip(out, samples):
        for box, label in zip(sample.gt_instances.bboxes.int(), sample.gt_instances.labels):
            image[:, box[1] : box[3], box[0] : box[2]] = colours[label][:, None, None]
    return out


def build(config: Mapping[str, Any]) -> Any:
    """The detector of a model node, its keys checked, as in training."""
    torch.manual_seed(0)
    model = build_model(Config(dict(model=copy.deepcopy(dict(config)))))
    model.init_weights()
    return model.train()


@dataclass
class Scene:
    """One fixed batch."""

    samples: list[DetDataSample]
    inputs: Tensor

    @classmethod
    def of(cls, samples: list[DetDataSample]) -> 'Scene':
        return cls(samples, images(samples))

    def losses(self, model: nn.Module) -> dict[str, Tensor]:
        return model(self.inputs, self.samples, mode='loss')

    def loss_inputs(self, model: Any) -> LossInputs:
        """What the losses of a model read, the raw maps being leaves of their graph."""
        with torch.no_grad():
            maps = model.bbox_head.raw_maps(model.extract_feat(self.inputs))
        maps = [[m.requires_grad_() for m in level_maps] for level_maps in maps]
        gt = GroundTruth.from_data_samples(self.samples)
        ids = [sample.img_id for sample in self.samples]
        return model.bbox_head.loss_inputs(maps, gt, image_ids=ids)


SCENE = Scene.of(gts())
EMPTY = Scene.of(gts(count=0))


def problems_of(config: Mapping[str, Any], *, steps: int = 8, rate: float = 3e-3) -> list[str]:
    """What is wrong with a pairing of parts; empty if nothing is.

    Every loss finite, a gradient in every parameter of the head and of every term of its
    own, a graph through every parameter without gts, and a lower loss after some steps.
    """
    model = build(config)
    before = copy.deepcopy(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for step in range(steps):
        losses = SCENE.losses(model)
        if not all(bool(torch.isfinite(value)) for value in losses.values()):
            return [f'step {step}: {losses}']
        optimizer.zero_grad()
        sum(losses.values()).backward()
        problems = first_step_problems(model, losses) if step == 0 else []
        if problems:
            return problems
        optimizer.step()
    # Assigners that look at predictions, and hard negatives, move the targets: compared
    # is what the steps did for those of the end.
    last = SCENE.loss_inputs(model)
    totals = [fixed_loss(m, last) for m in (before, model)]
    if not totals[1] < totals[0]:
        return [f'the loss did not fall: from {totals[0]:.5g} to {totals[1]:.5g}']
    return empty_problems(model)


def fixed_loss(model: Any, last: LossInputs) -> float:
    """The loss of a model against the targets of ``last``: its pairs, and their overlaps."""
    found, total = SCENE.loss_inputs(model), 0.0
    for term in model.bbox_head.loss_terms:
        assignment = last.assignment
        if term.target_quality not in ('assigned', 'one'):
            # An objectness that learns the overlap of the prediction with its gt.
            overlaps = last.overlaps_at('bbox', last.pairs(term), term.target_quality)
            assignment = last.pairs(term).replace(quality=overlaps)
            term = replace(term, target_quality='assigned')
        own = replace(found, assignment=assignment, _cache={})
        total += float(evaluate_terms([term], own)[term.name].detach())
    return total


def first_step_problems(model: Any, losses: Mapping[str, Tensor]) -> list[str]:
    """Parameters of the head without a gradient, and terms without one of their own."""
    head, problems = model.bbox_head, []
    names = [term.name for term in head.loss_terms]
    if list(losses) != names:
        problems.append(f'losses {list(losses)}, terms {names}')
    found = SCENE.loss_inputs(model)
    idle = idle_parameters(head, found)
    for name, parameter in head.named_parameters():
        expected = not name.startswith(idle)
        grad = parameter.grad
        if grad is None or not torch.isfinite(grad).all():
            problems.append(f'{name}: no finite gradient')
        elif bool(grad.abs().sum() > 0) != expected:
            problems.append(f'{name}: gradient {"zero" if expected else "although idle"}')
    for term in head.loss_terms:
        loss = evaluate_terms([term], found)[term.name]
        branch = found.output[term.branch]
        grad = torch.autograd.grad(loss, branch, retain_graph=True, allow_unused=True)[0]
        if grad is None or not grad.abs().sum() > 0:
            problems.append(f'{term.name}: no gradient of its own')
    return problems


def idle_parameters(head: nn.Module, found: LossInputs) -> tuple[str, ...]:
    """Beginnings of the names of parameters that one level alone reads, for nothing to learn.

    Boxes and centreness are learnt by positives: on a level without any, what only they
    read gets no gradient; nor does a level whose priors a sampler has all set aside, nor its
    classes where an asymmetric loss takes negatives below its margin for solved.
    """
    assigned, level_ids = found.assignment, found.priors.level_ids
    positive = set(level_ids[assigned.prior].tolist())
    active = set(level_ids.expand_as(assigned.ignored)[~assigned.ignored].tolist())
    own = type(head).__name__ == 'SSDHead'
    charged = active
    for term in head.loss_terms:
        if type(term.loss).__name__ != 'AsymmetricLoss' or term.kind == 'centerness':
            continue
        if term.kind == 'objectness':
            probability = head.factors(found.output)
        elif hasattr(head, 'cls_convs'):
            probability = head.scores(found.output).amax(-1)
        else:
            continue
        hard = (probability > term.loss.clip) & ~assigned.ignored
        charged = positive | set(level_ids.expand_as(hard)[hard].tolist())
    idle = []
    for level in range(len(found.priors.level_sizes)):
        for name, used in (('reg_convs', level in positive), ('cls_convs', level in charged)):
            if not used:
                idle += [f'{name}.{level}.'] if own else [f'{name}.0.norms.{level}.']
        if level not in positive:
            idle.append(f'scales.{level}.')
        if level not in charged:
            idle += [f'convs_bridge.{level}.', f'convs_pred.{level}.']
            idle.append(f'head_module.convs_pred.{level}.')
    return tuple(idle)


def empty_problems(model: Any) -> list[str]:
    """A batch without gts: finite losses, and a graph through every parameter."""
    model.zero_grad()
    losses = EMPTY.losses(model)
    sum(losses.values()).backward()
    problems = [f'{k} without gts: {v}' for k, v in losses.items() if not torch.isfinite(v)]
    for name, parameter in model.named_parameters():
        if parameter.grad is None or not torch.isfinite(parameter.grad).all():
            problems.append(f'{name} without gts: no finite gradient')
    return problems
