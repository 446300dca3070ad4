"""Resize: image, boxes and keypoints together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import mmcv
from mmcv.transforms import BaseTransform
from mmcv.transforms import Resize as _Resize

from ..errors import ConfigError
from ..registry import TRANSFORMS
from .ignored_mask import pad_mask, resize_mask
from .instances import clip, drop_degenerate, scale_and_shift
from .keyed import KeyedTransform

Size = int | Sequence[int]


@TRANSFORMS.register_module()
class Resize(_Resize):
    """Resize the image, its boxes and its keypoints.

    Args:
        scale: The exact (width, height); with ``keep_ratio`` the bounds of the sides, the
            larger one for the longer side whatever its direction, as in OpenMMLab.
        scale_factor: Instead of ``scale``: a factor, or one for each of (w, h).
        keep_ratio: Keep the aspect ratio.
        clip_object_border: Clip boxes to the image and drop those without area.
        backend: ``'cv2'`` or ``'pillow'``.
        interpolation: As ``mmcv.imresize``.

    Sets ``scale_factor`` (w, h), the size after over the size before, and ``img_shape``.
    Deviation from mmcv: keypoints are ``(n, V, 2)``; those outside become unlabelled
    instead of moving to the border.
    """

    def __init__(
        self,
        scale: Size | None = None,
        scale_factor: float | Sequence[float] | None = None,
        keep_ratio: bool = False,
        clip_object_border: bool = True,
        backend: str = 'cv2',
        interpolation: str = 'bilinear',
    ) -> None:
        super().__init__(
            scale=scale if scale is None or isinstance(scale, int) else tuple(scale),
            scale_factor=tuple(scale_factor)
            if isinstance(scale_factor, Sequence)
            else scale_factor
            if scale_factor is None
            else float(scale_factor),
            keep_ratio=keep_ratio,
            clip_object_border=clip_object_border,
            backend=backend,
            interpolation=interpolation,
        )

    def _resize_img(self, results: dict) -> None:
        """Resize the pixels; a side never becomes 0, however long and thin the image is."""
        height, width = results['img'].shape[:2]
        target = results['scale']
        if self.keep_ratio:
            target = mmcv.rescale_size((width, height), target)
        new_w, new_h = (max(1, int(side)) for side in target)
        results['img'] = mmcv.imresize(
            results['img'],
            (new_w, new_h),
            interpolation=self.interpolation,
            backend=self.backend,
        )
        results['img_shape'] = (new_h, new_w)
        resize_mask(results, new_w, new_h)
        results['scale_factor'] = (new_w / width, new_h / height)
        results['keep_ratio'] = self.keep_ratio

    def _resize_bboxes(self, results: dict) -> None:
        scale_and_shift(results, results['scale_factor'])
        if self.clip_object_border:
            clip(results, *results['img_shape'])
            drop_degenerate(results)

    def _resize_keypoints(self, results: dict) -> None:
        """Done with the boxes."""


@TRANSFORMS.register_module()
class RandomResize(KeyedTransform):
    """Resize to a random scale between two.

    Args:
        scale: Two (w, h) scales to draw between, or one with ``ratio_range``.
        ratio_range: (lowest, highest) factor on the one scale.
        keep_ratio: Keep the aspect ratio.
        clip_object_border: Clip boxes to the image and drop those without area.
        interpolation: As ``mmcv.imresize``.

    Between two scales the long and the short side are drawn apart, as mmcv does.
    """

    def __init__(
        self,
        scale: Sequence,
        ratio_range: Sequence[float] | None = None,
        keep_ratio: bool = False,
        clip_object_border: bool = True,
        interpolation: str = 'bilinear',
    ) -> None:
        single = all(isinstance(s, int) for s in scale)
        if single != (ratio_range is not None) or len(scale) != 2:
            raise ConfigError(
                'RandomResize: expected two scales ((w, h), (w, h)), or one (w, h) with '
                f'ratio_range, got scale={scale}, ratio_range={ratio_range}'
            )
        self.scale = scale
        self.ratio_range = None if ratio_range is None else (ratio_range[0], ratio_range[1])
        self.options: dict[str, Any] = dict(
            keep_ratio=keep_ratio,
            clip_object_border=clip_object_border,
            interpolation=interpolation,
        )

    def transform(self, results: dict) -> dict:
        """Draw the scale, then resize."""
        rng = self.rng(results)
        if self.ratio_range is not None:
            ratio = rng.uniform(*self.ratio_range)
            scale = tuple(max(1, int(s * ratio)) for s in self.scale)
        else:
            longs, shorts = [max(s) for s in self.scale], [min(s) for s in self.scale]
            scale = (
                int(rng.integers(min(longs), max(longs) + 1)),
                int(rng.integers(min(shorts), max(shorts) + 1)),
            )
        return Resize(scale, **self.options).transform(results)


@TRANSFORMS.register_module()
class RandomChoiceResize(KeyedTransform):
    """Resize to one of several scales.

    Args:
        scales: The (w, h) scales, equally likely.
        keep_ratio: Keep the aspect ratio.
        clip_object_border: Clip boxes to the image and drop those without area.
        interpolation: As ``mmcv.imresize``.
    """

    def __init__(
        self,
        scales: Sequence[Size],
        keep_ratio: bool = False,
        clip_object_border: bool = True,
        interpolation: str = 'bilinear',
    ) -> None:
        self.resizes = [
            Resize(
                scale,
                keep_ratio=keep_ratio,
                clip_object_border=clip_object_border,
                interpolation=interpolation,
            )
            for scale in scales
        ]

    def transform(self, results: dict) -> dict:
        """Draw the scale, then resize."""
        return self.resizes[self.rng(results).integers(len(self.resizes))].transform(results)


@TRANSFORMS.register_module()
class LetterResize(BaseTransform):
    """Fit the image into a size with its ratio kept, and centre it on a grey canvas.

    Args:
        scale: (width, height) of the canvas.
        pad_val: Value of the border.
        allow_scale_up: Enlarge images smaller than the canvas.
        interpolation: As ``mmcv.imresize``. Default: area when shrinking, else bilinear.

    Sets ``scale_factor`` (w, h), ``pad_param`` (top, bottom, left, right) in pixels, and
    ``img_shape``, the whole canvas: content does not start at its corner.

    Source: the letterbox of YOLO (Redmon and Farhadi 2018; Jocher, YOLOv5).
    """

    def __init__(
        self,
        scale: Size,
        pad_val: float | dict = 114,
        allow_scale_up: bool = True,
        interpolation: str | None = None,
    ) -> None:
        self.width, self.height = (scale, scale) if isinstance(scale, int) else scale
        value = pad_val.get('img', 114) if isinstance(pad_val, dict) else pad_val
        self.pad_val = value
        self.allow_scale_up = allow_scale_up
        self.interpolation = interpolation

    def transform(self, results: dict) -> dict:
        """Resize, then pad on all sides."""
        h, w = results['img'].shape[:2]
        ratio = min(self.width / w, self.height / h)
        if not self.allow_scale_up:
            ratio = min(ratio, 1.0)
        new_w, new_h = max(1, round(w * ratio)), max(1, round(h * ratio))
        if (new_w, new_h) != (w, h):
            interpolation = self.interpolation or ('area' if ratio < 1 else 'bilinear')
            results['img'] = mmcv.imresize(
                results['img'], (new_w, new_h), interpolation=interpolation
            )
            resize_mask(results, new_w, new_h)
        pad_w, pad_h = self.width - new_w, self.height - new_h
        left, top = pad_w // 2, pad_h // 2
        border = (top, pad_h - top, left, pad_w - left)
        channels = results['img'].shape[2] if results['img'].ndim == 3 else 1
        results['img'] = cv2.copyMakeBorder(
            results['img'], *border, cv2.BORDER_CONSTANT, value=(self.pad_val,) * channels
        )
        pad_mask(results, *border)
        results['scale_factor'] = (new_w / w, new_h / h)
        results['pad_param'] = border
        results['img_shape'] = results['pad_shape'] = results['img'].shape[:2]
        scale_and_shift(results, results['scale_factor'], (left, top))
        clip(results, *results['img_shape'])
        drop_degenerate(results)
        return results
