"""One batch and one forward and backward pass of a detector, looked at.

Shapes: B images, N priors, K pairs, L levels.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ..config.reading import child_nodes
from ..engine.hooks.check_classes import check_classes
from ..engine.start_checks import check_batches
from ..errors import ConfigError
from ..heads import LossInputs, evaluate_terms
from ..structures import DetDataSample

LONGEST_SIDE = 512  # of synthetic images: enough for every size of gt, and seconds on a CPU


def training_size(cfg: Config) -> tuple[int, int]:
    """Height and width of synthetic images: what training resizes to, at most 512 pixels.

    A fixed square size is kept as it is: fully connected layers may need it.
    """
    small = any(name in str(cfg.get('train_dataloader')) for name in ('Digits', 'Puppets'))
    sizes = [(128, 128)] if small else [(512, 512)]
    loader = cfg.get('train_dataloader') or {}
    for _, node in child_nodes(dict(loader)):
        for key in ('scale', 'img_scale', 'crop_size'):
            value: Any = node.get(key)
            pair = isinstance(value, Sequence) and len(value) == 2
            if pair and all(isinstance(side, int) for side in value):
                sizes.append((min(value), max(value)))
    height, width = sizes[-1]
    if height == width:
        return height, width
    shrink = min(1.0, LONGEST_SIDE / width)
    return max(32, round(height * shrink / 32) * 32), max(32, round(width * shrink / 32) * 32)


def synthetic_batch(
    size: tuple[int, int], num_classes: int, *, batch: int = 2, seed: int = 0, count: int = 8
) -> dict[str, list]:
    """Noise with painted boxes of many sizes, as a data loader gives a batch.

    Args:
        size: (height, width) in pixels.
        num_classes: Labels are drawn from so many.
        batch: B.
        seed: Of everything drawn.
        count: Gts an image, from 8 pixels to 0.9 of the shorter side, evenly by logarithm.
    """
    height, width = size
    inputs, samples = [], []
    for index in range(batch):
        generator = torch.Generator().manual_seed(seed * 1000 + index)

        def draw(*shape: int, g: torch.Generator = generator) -> Tensor:
            return torch.rand(*shape, generator=g)

        sides = torch.logspace(0, 1, count, base=max(0.9 * min(size) / 8, 1.0))[:, None] * 8
        sides = sides * torch.exp2(draw(count, 2) - 0.5)
        sides = torch.minimum(sides, torch.tensor([width, height]) * 0.95)
        low = draw(count, 2) * (torch.tensor([width, height]) - sides)
        boxes = torch.cat((low, low + sides), dim=1)
        image = draw(3, height, width) * 60 + 90
        for x1, y1, x2, y2 in reversed(boxes.int().tolist()):
            image[:, y1:y2, x1:x2] = draw(3, 1, 1) * 255
        sample = DetDataSample(metainfo=dict(img_shape=size, ori_shape=size, img_id=index))
        labels = (draw(count) * num_classes).long().clamp(max=num_classes - 1)
        sample.gt_instances = InstanceData(bboxes=boxes, labels=labels)
        inputs.append(image.round().to(torch.uint8))
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def first_batch(cfg: Config, model: Any) -> dict[str, Any]:
    """The first batch of the config's training data.

    Raises:
        ConfigError: If it has none, or other classes than the model.
    """
    built = _training_loader(cfg)
    check_classes(model, built, 'train_dataloader')
    check_batches('train_dataloader', built)
    return next(iter(built))


def epoch_length(cfg: Config) -> int:
    """Iterations of an epoch of the config's training data, in one process."""
    return len(_training_loader(cfg))


def _training_loader(cfg: Config) -> DataLoader:
    loader = copy.deepcopy(cfg.get('train_dataloader'))
    if not loader:
        raise ConfigError('--data: the config has no train_dataloader')
    loader.update(num_workers=0, persistent_workers=False)
    loader.pop('prefetch_factor', None)
    return Runner.build_dataloader(loader, seed=0)


@dataclass(frozen=True, eq=False)
class Inspection:
    """What one pass showed of one head.

    Args:
        name: Of the stage; '' for the main head.
        head: The head.
        shapes: (channels, height, width) of the feature map of each level.
        inputs: What the losses compared.
        losses: Name of the term to value.
        gradients: Part of the model to (parameters, gradient norm, of them without any).
    """

    name: str
    head: Any
    shapes: tuple[tuple[int, ...], ...]
    inputs: LossInputs
    losses: dict[str, float]
    gradients: dict[str, tuple[int, float, int]]


def inspect_model(model: Any, data: Mapping[str, Any]) -> list[Inspection]:
    """One forward and backward pass of a detector on a batch.

    Args:
        model: The detector.
        data: A batch as a data loader gives it.

    Returns:
        One inspection a head that has losses, the gradients of all together in each.
    """
    model.train()
    batch = model.data_preprocessor(data, training=False)
    feats = model.extract_feat(batch['inputs'])
    stages = model.loss_stages(feats, batch['data_samples'])
    losses = [evaluate_terms(stage.head.loss_terms, stage.inputs) for stage in stages]
    model.zero_grad()
    torch.stack([value for found in losses for value in found.values()]).sum().backward()
    gradients = _gradients(model)
    return [
        Inspection(
            name=stage.name,
            head=stage.head,
            shapes=tuple(tuple(level.shape[1:]) for level in feats),
            inputs=stage.inputs,
            losses={name: float(value.detach()) for name, value in found.items()},
            gradients=gradients,
        )
        for stage, found in zip(stages, losses)
    ]


def _gradients(model: nn.Module) -> dict[str, tuple[int, float, int]]:
    """Parts of the model, the head's layers apart."""
    parts: dict[str, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            words = name.split('.')
            part = '.'.join(words[:2]) if 'head' in words[0] else words[0]
            parts.setdefault(part, []).append(parameter)
    out = {}
    for part, parameters in parts.items():
        norms = [0.0 if p.grad is None else float(p.grad.norm()) for p in parameters]
        total = sum(norm**2 for norm in norms) ** 0.5
        out[part] = (sum(p.numel() for p in parameters), total, norms.count(0.0))
    return out
