"""From the collated samples to one normalised batch on the model's device.

Legend: B images, C channels, H x W the padded size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.logging import MessageHub
from mmengine.model import BaseDataPreprocessor
from torch import Tensor
from torch.nn import functional as F

from ..errors import ConfigError, ShapeError
from ..registry import MODELS
from .keys import BATCH_STREAM, keyed_rng


@MODELS.register_module()
class DetDataPreprocessor(BaseDataPreprocessor):
    """Moves, normalises, pads and stacks images; notes the sizes in the data samples.

    ``(x - mean) / std`` per channel, after the channels were reversed if asked; then
    padding at the right and at the bottom with ``pad_value``, to the largest image of
    the batch rounded up to ``pad_size_divisor``.

    Each sample's meta information gets ``batch_input_shape`` (h, w), the size of the
    batch, and ``pad_shape`` (h, w), the image's own size rounded up to the divisor.

    All shapes are known on the host, so nothing here waits for the device.

    Args:
        mean: One value a channel, or one for all, in the order *after* the reversal.
        std: Likewise; given together with ``mean``.
        pad_size_divisor: What H and W become a multiple of.
        pad_value: Value of the padding, in the normalised image.
        bgr_to_rgb: Reverse the channels of BGR images.
        rgb_to_bgr: Reverse the channels of RGB images.
        non_blocking: Copy asynchronously (from pinned memory).
        batch_augments: Config nodes or callables ``(inputs, data_samples) -> same``, run
            in training on the finished batch, such as :class:`BatchRandomResize`.
    """

    def __init__(
        self,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        pad_size_divisor: int = 1,
        pad_value: float = 0,
        bgr_to_rgb: bool = False,
        rgb_to_bgr: bool = False,
        non_blocking: bool = False,
        batch_augments: Sequence[dict] | None = None,
    ) -> None:
        super().__init__(non_blocking)
        if bgr_to_rgb and rgb_to_bgr:
            raise ConfigError('DetDataPreprocessor: give bgr_to_rgb or rgb_to_bgr, not both')
        if (mean is None) != (std is None):
            raise ConfigError('DetDataPreprocessor: mean and std belong together')
        if pad_size_divisor < 1:
            raise ConfigError(f'pad_size_divisor: expected at least 1, got {pad_size_divisor}')
        if std is not None and min(std) <= 0:
            raise ConfigError(f'std: expected positive values, got {std}')
        self._normalise = mean is not None
        # Not persistent: checkpoints of other frameworks do not have them.
        self.register_buffer('mean', torch.tensor(mean or [0.0]).view(-1, 1, 1).float(), False)
        self.register_buffer('std', torch.tensor(std or [1.0]).view(-1, 1, 1).float(), False)
        self.reverse_channels = bgr_to_rgb or rgb_to_bgr
        self.pad_size_divisor = pad_size_divisor
        self.pad_value = pad_value
        self.batch_augments = [
            MODELS.build(a) if isinstance(a, dict) else a for a in batch_augments or ()
        ]

    def forward(self, data: dict, training: bool = False) -> dict:
        """Make the batch.

        Args:
            data: ``inputs``, a list of ``(C, h, w)`` tensors or one ``(B, C, h, w)``, and
                ``data_samples``, a list of samples or None.
            training: Whether to run the batch augmentations.

        Returns:
            ``dict(inputs=(B, C, H, W) float32, data_samples=...)``.
        """
        inputs = data['inputs']
        images = [inputs] if isinstance(inputs, Tensor) and inputs.dim() == 3 else list(inputs)
        samples = self.cast_data(data.get('data_samples'))
        batch = self._batch(images)
        if samples is not None:
            height, width = batch.shape[-2:]
            for image, sample in zip(images, samples):
                sample.set_metainfo(
                    dict(batch_input_shape=(height, width), pad_shape=self._padded(image))
                )
        if training:
            for augment in self.batch_augments:
                batch, samples = augment(batch, samples)
        return dict(inputs=batch, data_samples=samples)

    def _padded(self, image: Tensor) -> tuple[int, int]:
        divisor = self.pad_size_divisor
        height, width = image.shape[-2:]
        return math.ceil(height / divisor) * divisor, math.ceil(width / divisor) * divisor

    def _batch(self, images: Sequence[Tensor]) -> Tensor:
        for image in images:
            channels = self.mean.shape[0]
            if image.dim() != 3 or (channels > 1 and image.shape[0] != channels):
                raise ShapeError(
                    f'inputs: expected images (C, H, W) with C = {channels} as in mean, '
                    f'got {tuple(image.shape)}'
                )
        padded = [self._padded(image) for image in images]
        height, width = max(p[0] for p in padded), max(p[1] for p in padded)
        if len({(image.shape, image.dtype) for image in images}) == 1:
            # The usual case of small images: one copy to the device, then whole-batch passes.
            stacked = torch.stack(list(images)).to(self.device, non_blocking=self._non_blocking)
            return self._pad(self.normalise(stacked), height, width)
        moved = [image.to(self.device, non_blocking=self._non_blocking) for image in images]
        return torch.stack([self._pad(self.normalise(m), height, width) for m in moved])

    def normalise(self, image: Tensor) -> Tensor:
        """``(..., C, H, W)`` with its channels in order, less the mean, over the deviation."""
        if self.reverse_channels:
            # Not a list index: that would copy the list to the device and wait for it.
            image = image.flip(-3)
        image = image.float()
        return (image - self.mean) / self.std if self._normalise else image

    def _pad(self, image: Tensor, height: int, width: int) -> Tensor:
        below, right = height - image.shape[-2], width - image.shape[-1]
        if not below and not right:
            return image
        return F.pad(image, (0, right, 0, below), value=self.pad_value)


@MODELS.register_module()
class BatchRandomResize:
    """Multi-scale training: resize the whole batch to a random multiple of a divisor.

    The size is a function of (seed, step // interval), so all ranks agree without a
    message, and a resumed run goes on with the sizes it would have had.

    Args:
        random_size_range: (lowest, highest) longer side in pixels, both reachable.
        interval: Steps between two draws.
        size_divisor: What both sides become a multiple of.
        seed: Key of the sizes. Default: the run's seed.

    Source: the multi-scale training of Redmon and Farhadi, "YOLO9000", 2017, section 2.
    """

    def __init__(
        self,
        random_size_range: Sequence[int],
        interval: int = 10,
        size_divisor: int = 32,
        *,
        seed: int | None = None,
    ) -> None:
        low, high = (round(s / size_divisor) for s in random_size_range)
        if not 1 <= low <= high:
            raise ConfigError(
                f'random_size_range: expected lowest <= highest and at least {size_divisor}, '
                f'got {tuple(random_size_range)}'
            )
        self.range = low, high
        self.interval = interval
        self.size_divisor = size_divisor
        self.seed = seed

    def size(self, step: int, height: int, width: int) -> tuple[int, int]:
        """The (h, w) that a batch of this size gets at a step; its ratio is kept."""
        seed = self.seed
        if seed is None:
            seed = int(_info('seed', 0) or 0)
        rng = keyed_rng(seed, step // self.interval, stream=BATCH_STREAM)
        longer = int(rng.integers(self.range[0], self.range[1] + 1)) * self.size_divisor
        ratio = longer / max(height, width)
        fit = [max(1, round(s * ratio / self.size_divisor)) for s in (height, width)]
        return fit[0] * self.size_divisor, fit[1] * self.size_divisor

    def __call__(self, inputs: Tensor, samples: list) -> tuple[Tensor, list]:
        """Resize images and annotations."""
        height, width = inputs.shape[-2:]
        new_h, new_w = self.size(int(_info('iter', 0)), height, width)
        if (new_h, new_w) == (height, width):
            return inputs, samples
        inputs = F.interpolate(inputs, (new_h, new_w), mode='bilinear', align_corners=False)
        sx, sy = new_w / width, new_h / height
        for sample in samples:
            _scale_sample(sample, sx, sy, (new_h, new_w))
        return inputs, samples


def _info(key: str, default: Any) -> Any:
    hub = MessageHub.get_current_instance()
    return hub.get_info(key) if key in hub.runtime_info else default


def _scale_sample(sample: Any, sx: float, sy: float, batch_shape: tuple[int, int]) -> None:
    for name in ('gt_instances', 'ignored_instances'):
        instances = getattr(sample, name, None)
        if instances is None:
            continue
        # Slices and Python numbers: a tensor made from a list would wait for the device.
        for field in ('bboxes', 'keypoints'):
            if field in instances:
                scaled = instances[field].clone()
                scaled[..., 0::2] *= sx
                scaled[..., 1::2] *= sy
                instances[field] = scaled
    mask = sample.get('ignored_mask')
    if mask is not None:
        size = round(mask.shape[0] * sy), round(mask.shape[1] * sx)
        resized = F.interpolate(mask[None, None].float(), size, mode='nearest-exact')
        sample.ignored_mask = resized[0, 0] > 0
    height, width = sample.img_shape
    scale = sample.metainfo.get('scale_factor', (1.0, 1.0))
    sample.set_metainfo(
        dict(
            img_shape=(round(height * sy), round(width * sx)),
            pad_shape=batch_shape,
            batch_input_shape=batch_shape,
            scale_factor=(scale[0] * sx, scale[1] * sy),
        )
    )
