"""Weights and inputs that any implementation can rebuild from names and seeds.

They let two implementations of one detector be compared without exchanging files.
"""

import copy
import zlib
from collections.abc import Mapping, Sequence

import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ..structures import DetDataSample


@torch.no_grad()
def fill_from_names(model: nn.Module, own_values: Sequence[str] = ()) -> None:
    """Fill every entry of the state dict with numbers drawn from its own name.

    ``r = randn(shape)`` under the seed ``crc32(name)``; tensors of two or more dimensions
    get ``r / sqrt(t[0].numel())``, ``running_var`` gets ``1 + 0.1 |r|``, weights and
    scales ``1 + 0.1 r``, ``num_batches_tracked`` 0, everything else ``0.1 r``.

    Args:
        model: Changed in place.
        own_values: Entries that stay as they are.
    """
    for name, tensor in model.state_dict().items():
        if name in own_values:
            continue
        if name.endswith('num_batches_tracked'):
            tensor.zero_()
            continue
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        r = torch.randn(tensor.shape, generator=generator)
        if tensor.dim() >= 2:
            value = r / tensor[0].numel() ** 0.5
        elif name.endswith('running_var'):
            value = 1 + 0.1 * r.abs()
        elif name.endswith(('weight', 'scale')):
            value = 1 + 0.1 * r
        else:
            value = 0.1 * r
        tensor.copy_(value)


def without_pretrained(model_cfg: Mapping) -> dict:
    """A copy of a model config whose backbone loads no checkpoint."""
    cfg = copy.deepcopy(dict(model_cfg))
    cfg['backbone'] = dict(cfg['backbone'], init_cfg=None)
    return cfg


def losses_of_case(model: nn.Module, case: Mapping, size: int) -> dict[str, Tensor]:
    """The training losses of a detector on a seeded input.

    Args:
        model: The detector, weights filled, in train mode.
        case: ``seed`` of the input and ``gts``: ``boxes`` and ``labels`` an image.
        size: Height and width of the square input.
    """
    generator = torch.Generator().manual_seed(case['seed'])
    gts: Sequence[Mapping] = case['gts']
    inputs = torch.randn(len(gts), 3, size, size, generator=generator)
    samples = []
    for gt in gts:
        shape = (size, size)
        sample = DetDataSample(
            metainfo=dict(img_shape=shape, pad_shape=shape, batch_input_shape=shape)
        )
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor(gt['boxes'], dtype=torch.float32).reshape(-1, 4),
            labels=torch.tensor(gt['labels'], dtype=torch.long),
        )
        samples.append(sample)
    return model(inputs, samples, mode='loss')
