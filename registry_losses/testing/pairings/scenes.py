"""Fixed batches on which the pairings train.

Shapes: B images, M gts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ...structures import DetDataSample
from .detectors import CLASSES, SIZE

JOINTS = 17
Painter = Callable[[list[DetDataSample]], Tensor]


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


def persons(size: int = SIZE, count: int = 3) -> list[DetDataSample]:
    """Two images of persons, who keep to a row each and miss a joint here and there."""
    samples = gts(size, 0)
    for image, sample in enumerate(samples):
        generator = torch.Generator().manual_seed(image)
        tall = size / max(count, 1)
        top = torch.arange(count)[:, None, None] * tall
        share = torch.rand(count, JOINTS, 2, generator=generator) * 0.9 + 0.05
        points = share * torch.tensor([float(size), tall])
        points[..., 1:] += top
        sample.gt_instances = InstanceData(
            bboxes=torch.cat((points.amin(1) - 1, points.amax(1) + 1), dim=1)
            if count
            else torch.zeros(0, 4),
            labels=torch.zeros(count, dtype=torch.long),
            keypoints=points,
            keypoints_visible=(torch.rand(count, JOINTS, generator=generator) > 0.2).float(),
        )
    return samples


def joint_images(samples: list[DetDataSample], size: int = SIZE) -> Tensor:
    """Noise in which each kind of joint paints a spot in a colour of its own."""
    generator = torch.Generator().manual_seed(7)
    out = torch.randn(len(samples), 3, size, size, generator=generator) * 0.2
    colours = torch.randn(JOINTS, 3, generator=generator)
    for image, sample in zip(out, samples):
        for person in sample.gt_instances.keypoints:
            for (x, y), colour in zip(person.int().tolist(), colours):
                spot = image[:, max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3]
                spot[:] = colour[:, None, None]
    return out


@dataclass(frozen=True)
class Scenes:
    """The batches that a kind of head trains on.

    Args:
        plain: To train on.
        empty: Without a gt.
        ignoring: ``plain``, half of each image an ignore region.
    """

    plain: Scene
    empty: Scene
    ignoring: Scene

    @classmethod
    def of(cls, some: list[DetDataSample], none: list[DetDataSample], paint: Painter) -> Scenes:
        """Of annotations and what paints them."""
        inputs = paint(some)
        ignoring = Scene(with_ignore_regions(some), inputs)
        return cls(Scene(some, inputs), Scene(none, paint(none)), ignoring)


BOXES = Scenes.of(gts(), gts(count=0), images)
PERSONS = Scenes.of(persons(), persons(count=0), joint_images)
SCENE, EMPTY = BOXES.plain, BOXES.empty
