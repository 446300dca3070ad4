"""Cut or enlarge the view: image, boxes and keypoints together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..errors import ConfigError
from ..ops import bbox_overlaps
from ..registry import TRANSFORMS
from .ignored_mask import change_mask
from .instances import scale_and_shift, select, to_image
from .keyed import KeyedTransform, check_prob

_TRIES = 50


def crop_window(
    results: dict, x: int, y: int, width: int, height: int, fill: Sequence[float] | float = 0
) -> None:
    """Replace the image by a window of it, in place; outside the image it is filled.

    Args:
        results: The sample.
        x: Left edge of the window in the image; may be negative.
        y: Top edge.
        width: Of the window.
        height: Of the window.
        fill: Value of the pixels outside the image, one or one a channel.

    Boxes and keypoints are shifted, not yet clipped.
    """
    results['img'] = _window(results['img'], x, y, width, height, fill)
    change_mask(results, lambda mask: _window(mask, x, y, width, height, 0))
    results['img_shape'] = (height, width)
    scale_and_shift(results, shift=(-x, -y))


def _window(
    image: np.ndarray, x: int, y: int, width: int, height: int, fill: Sequence[float] | float
) -> np.ndarray:
    h, w = image.shape[:2]
    if x >= 0 and y >= 0 and x + width <= w and y + height <= h:
        return np.ascontiguousarray(image[y : y + height, x : x + width])
    canvas = np.empty((height, width, *image.shape[2:]), image.dtype)
    canvas[:] = np.asarray(fill).astype(image.dtype)
    x1, y1, x2, y2 = max(x, 0), max(y, 0), min(x + width, w), min(y + height, h)
    if x1 < x2 and y1 < y2:
        canvas[y1 - y : y2 - y, x1 - x : x2 - x] = image[y1:y2, x1:x2]
    return canvas


def centres_inside(boxes: np.ndarray, window: Sequence[float]) -> np.ndarray:
    """Which boxes ``(n, 4)`` have their centre strictly inside a window xyxy."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    x1, y1, x2, y2 = window
    return (centres[:, 0] > x1) & (centres[:, 1] > y1) & (centres[:, 0] < x2) & (centres[:, 1] < y2)


def _objects(results: dict) -> np.ndarray:
    """Boxes that are to be found: without the ignore regions."""
    boxes = results.get('gt_bboxes', np.zeros((0, 4), np.float32))
    flags = results.get('gt_ignore_flags')
    return boxes if flags is None else boxes[~flags]


@TRANSFORMS.register_module()
class MinIoURandomCrop(KeyedTransform):
    """SSD's crop: a window whose IoU with every object is at least a random minimum.

    One of: no crop, any window, or a minimum out of ``min_ious``. The window's sides
    are at least ``min_crop_size`` of the image's, its aspect ratio between 1/2 and 2.
    Objects whose centre it does not hold are dropped, the others clipped. When 50 draws
    fail, another minimum is drawn.

    Args:
        min_ious: The minima to draw from.
        min_crop_size: Smallest side, as a share of the image's.
        bbox_clip_border: Clip the boxes to the window.

    Source: Liu et al., "SSD", ECCV 2016, section 2.2, data augmentation. Ignore regions
    neither forbid a window nor ask for one.
    """

    def __init__(
        self,
        min_ious: Sequence[float] = (0.1, 0.3, 0.5, 0.7, 0.9),
        min_crop_size: float = 0.3,
        bbox_clip_border: bool = True,
    ) -> None:
        if not 0 < min_crop_size <= 1:
            raise ConfigError(f'min_crop_size: expected a share in (0, 1], got {min_crop_size}')
        # None stands for no crop, 0 for any window.
        self.modes = (None, 0.0, *min_ious)
        self.min_crop_size = min_crop_size
        self.bbox_clip_border = bbox_clip_border

    def transform(self, results: dict) -> dict:
        """Draw until a window fits, then cut."""
        rng = self.rng(results)
        while True:
            mode = self.modes[rng.integers(len(self.modes))]
            if mode is None:
                return results
            window = self._window(rng, results, mode)
            if window is not None:
                x1, y1, x2, y2 = window
                if 'gt_bboxes' in results:
                    select(results, centres_inside(results['gt_bboxes'], window))
                crop_window(results, x1, y1, x2 - x1, y2 - y1)
                if self.bbox_clip_border:
                    to_image(results)
                return results

    def _window(
        self, rng: np.random.Generator, results: dict, minimum: float
    ) -> tuple[int, int, int, int] | None:
        height, width = results['img'].shape[:2]
        objects = torch.from_numpy(_objects(results))
        for _ in range(_TRIES):
            w = int(rng.uniform(self.min_crop_size * width, width))
            h = int(rng.uniform(self.min_crop_size * height, height))
            if w < 1 or h < 1 or not 0.5 <= h / w <= 2:
                continue
            x, y = int(rng.uniform(0, width - w)), int(rng.uniform(0, height - h))
            window = (x, y, x + w, y + h)
            if len(objects):
                overlaps = bbox_overlaps(torch.tensor([window]).float(), objects)
                if float(overlaps.min()) < minimum:
                    continue
                if not centres_inside(objects.numpy(), window).any():
                    continue
            return window
        return None


@TRANSFORMS.register_module()
class Expand(KeyedTransform):
    """Place the image at random on a larger canvas, so that objects become small.

    Args:
        mean: Value of the canvas, one a channel, in the image's order.
        ratio_range: Side of the canvas over the image's.
        prob: Probability of a canvas at all.

    Source: the "zoom out" of SSD (Liu et al., ECCV 2016, section 3.6).
    """

    def __init__(
        self,
        mean: Sequence[float] = (0, 0, 0),
        ratio_range: Sequence[float] = (1, 4),
        prob: float = 0.5,
    ) -> None:
        low, high = ratio_range
        if not 1 <= low <= high:
            raise ConfigError(f'Expand.ratio_range: expected 1 <= low <= high, got {ratio_range}')
        self.mean = tuple(mean)
        self.ratio_range = (low, high)
        self.prob = check_prob('Expand.prob', prob)

    def transform(self, results: dict) -> dict:
        """Draw canvas and place, then copy."""
        rng = self.rng(results)
        if rng.random() >= self.prob:
            return results
        height, width = results['img'].shape[:2]
        ratio = rng.uniform(*self.ratio_range)
        new_h, new_w = int(height * ratio), int(width * ratio)
        left = int(rng.integers(0, new_w - width + 1))
        top = int(rng.integers(0, new_h - height + 1))
        crop_window(results, -left, -top, new_w, new_h, self.mean)
        return results


@TRANSFORMS.register_module()
class RandomCenterCropPad(KeyedTransform):
    """CornerNet's crop around a random centre, and its padding for tests.

    Training: the window is ``crop_size`` times one of ``ratios``, its centre at least a
    border away from the image's edges; what lies outside the image is filled with the
    mean. Objects whose centre the window does not hold are dropped, the others clipped.
    A window without an object is drawn again, up to 50 times, unless there is none.

    Test: the image is centred on a canvas whose sides are ``side | pad + add`` (so that
    strides divide it) or multiples of ``pad``; ``pad_param`` (top, bottom, left, right)
    tells predictions the way back.

    Args:
        crop_size: (height, width), training only.
        ratios: Factors on ``crop_size``, training only.
        border: Distance of the centre from the edges; halved until it fits the image.
        mean: Value of the filled pixels, one a channel, in the image's order.
        test_mode: Pad instead of cropping.
        test_pad_mode: ``('logical_or', 31)`` or ``('size_divisor', 32)``.
        test_pad_add_pix: Added to the ``logical_or``.
        bbox_clip_border: Clip the boxes to the window.

    Source: Law and Deng, "CornerNet", ECCV 2018, and Zhou et al., "Objects as Points",
    2019, released code.
    """

    def __init__(
        self,
        crop_size: Sequence[int] | None = None,
        ratios: Sequence[float] | None = (0.9, 1.0, 1.1),
        border: int | None = 128,
        mean: Sequence[float] = (0, 0, 0),
        test_mode: bool = False,
        test_pad_mode: Sequence = ('logical_or', 127),
        test_pad_add_pix: int = 0,
        bbox_clip_border: bool = True,
    ) -> None:
        if not test_mode and (crop_size is None or not ratios or border is None):
            raise ConfigError('RandomCenterCropPad: training needs crop_size, ratios and border')
        if test_mode and test_pad_mode[0] not in ('logical_or', 'size_divisor'):
            raise ConfigError(
                "test_pad_mode: expected ('logical_or', n) or ('size_divisor', n), "
                f'got {test_pad_mode}'
            )
        self.crop_size = tuple(crop_size or ())
        self.ratios = tuple(ratios or ())
        self.border = border or 0
        self.mean = tuple(mean)
        self.test_mode = test_mode
        self.test_pad_mode = test_pad_mode
        self.test_pad_add_pix = test_pad_add_pix
        self.bbox_clip_border = bbox_clip_border

    def transform(self, results: dict) -> dict:
        """Crop or pad."""
        return self._pad(results) if self.test_mode else self._crop(results)

    def _crop(self, results: dict) -> dict:
        rng = self.rng(results)
        height, width = results['img'].shape[:2]
        objects = _objects(results)
        for _ in range(_TRIES):
            ratio = self.ratios[int(rng.integers(len(self.ratios)))]
            crop_h, crop_w = (max(1, int(s * ratio)) for s in self.crop_size)
            border_x, border_y = self._border(width), self._border(height)
            x = int(rng.integers(border_x, max(width - border_x, border_x + 1))) - crop_w // 2
            y = int(rng.integers(border_y, max(height - border_y, border_y + 1))) - crop_h // 2
            window = (max(x, 0), max(y, 0), min(x + crop_w, width), min(y + crop_h, height))
            if len(objects) and not centres_inside(objects, window).any():
                continue
            if 'gt_bboxes' in results:
                select(results, centres_inside(results['gt_bboxes'], window))
            crop_window(results, x, y, crop_w, crop_h, self.mean)
            if self.bbox_clip_border:
                to_image(results)
            return results
        return results

    def _border(self, side: int) -> int:
        """The border, halved until twice of it is less than the side."""
        border = self.border
        while border * 2 >= side and border > 0:
            border //= 2
        return border

    def _pad(self, results: dict) -> dict:
        height, width = results['img'].shape[:2]
        mode, value = self.test_pad_mode
        if mode == 'logical_or':
            new_h, new_w = ((s | value) + self.test_pad_add_pix for s in (height, width))
        else:
            new_h, new_w = (-(-s // value) * value for s in (height, width))
        left, top = (new_w - width) // 2, (new_h - height) // 2
        crop_window(results, -left, -top, new_w, new_h, self.mean)
        old = results.get('pad_param', (0, 0, 0, 0))
        border = (top, new_h - height - top, left, new_w - width - left)
        results['pad_param'] = tuple(a + b for a, b in zip(old, border))
        return results
