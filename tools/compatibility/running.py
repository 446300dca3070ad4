"""Runs one pairing on a fixed scene and says what came of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from heads import CLASSES, STRIDES
from torch import Tensor

from registry_losses.errors import RegistryLossesError

SIZE = 128


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
