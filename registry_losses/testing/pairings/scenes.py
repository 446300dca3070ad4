"""Fixed batches on which the pairings train.

Shapes: B images, M gts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ...heads import LossInputs
from ...structures import DetDataSample, GroundTruth
from .detectors import CLASSES, SIZE


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


def with_ignore_regions(samples: list[DetDataSample], size: int = SIZE) -> list[DetDataSample]:
    """The same gts, the left half of each image an ignore region besides."""
    marked = [sample.clone() for sample in samples]
    for sample in marked:
        region = torch.tensor([[0.0, 0.0, size / 2, size]])
        sample.ignored_instances = InstanceData(bboxes=region)
    return marked


@dataclass
class Scene:
    """One fixed batch.

    Args:
        samples: Its annotations.
        inputs: ``(B, 3, H, W)``.
    """

    samples: list[DetDataSample]
    inputs: Tensor

    @classmethod
    def of(cls, samples: list[DetDataSample]) -> Scene:
        """The batch of some annotations, its images painted after them."""
        return cls(samples, images(samples))

    def losses(self, model: nn.Module) -> dict[str, Tensor]:
        """The training losses of a model."""
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
IGNORING = Scene(with_ignore_regions(SCENE.samples), SCENE.inputs)
