"""Heads on maps of zeros, which predict what their biases say, and samples for them."""

import torch
from mmengine.structures import InstanceData

from registry_losses.registry import MODELS
from registry_losses.structures import DetDataSample


def head(type: str, **options):
    """A head of two classes on one channel, without towers."""
    node = dict(type=type, num_classes=2, in_channels=1)
    return MODELS.build({**node, **options}).train()


def set_bias(conv: torch.nn.Module, values) -> None:
    """Make a convolution predict ``values`` everywhere."""
    with torch.no_grad():
        conv.weight.zero_()
        conv.bias.copy_(torch.as_tensor(values, dtype=torch.float32))


def feats(*sizes, channels: int = 1) -> list[torch.Tensor]:
    """Maps of zeros of the given (height, width), one a level."""
    return [torch.zeros(1, channels, *size) for size in sizes]


def sample(boxes, labels, size=(8, 8)) -> DetDataSample:
    """One image of (height, width) with its gts."""
    out = DetDataSample(metainfo=dict(img_shape=size, pad_shape=size, batch_input_shape=size))
    out.gt_instances = InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor(labels, dtype=torch.long),
    )
    return out


def logit(p: float) -> float:
    """What a sigmoid makes ``p`` of."""
    return float(torch.logit(torch.tensor(p, dtype=torch.float64)))


def predicted(built, maps_in):
    """``(N, 4)`` boxes and ``(N, C)`` scores that assigners see of the only image."""
    maps = built(maps_in)
    found = built.reader.predictions(built.reader.flatten(maps), built.reader.priors(maps))
    return found.boxes[0], found.scores[0]
