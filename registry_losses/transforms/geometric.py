"""Resize, flip and pad: image, boxes and keypoints together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms import Pad as _Pad
from mmcv.transforms import Resize as _Resize

from ..errors import ConfigError
from ..registry import TRANSFORMS
from .instances import clip, drop_degenerate, scale_and_shift
from .keyed import KeyedTransform, check_prob

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


_DIRECTIONS = ('horizontal', 'vertical', 'diagonal')


@TRANSFORMS.register_module()
class RandomFlip(KeyedTransform):
    """Flip image, boxes and keypoints.

    A horizontal flip maps x to W - x, a vertical one y to H - y, a diagonal one both.
    Left and right keypoints change places when the flip mirrors (not when diagonal,
    which is a turn by 180 degrees).

    Args:
        prob: Probability of a flip; with several directions, one for each or their sum.
        direction: ``'horizontal'``, ``'vertical'``, ``'diagonal'``, or several of them.
        flip_indices: For keypoints: the index that each becomes. Default: the data
            set's ``metainfo['flip_indices']``.

    Sets ``flip`` and ``flip_direction`` (None without a flip).
    """

    def __init__(
        self,
        prob: float | Sequence[float] = 0.5,
        direction: str | Sequence[str] = 'horizontal',
        *,
        flip_indices: Sequence[int] | None = None,
    ) -> None:
        self.directions = [direction] if isinstance(direction, str) else list(direction)
        if not self.directions or not set(self.directions) <= set(_DIRECTIONS):
            raise ConfigError(
                f'RandomFlip.direction: expected some of {_DIRECTIONS}, got {direction!r}'
            )
        if isinstance(prob, (int, float)):
            self.probs = [check_prob('RandomFlip.prob', prob) / len(self.directions)] * len(
                self.directions
            )
        else:
            self.probs = [check_prob('RandomFlip.prob', p) for p in prob]
        if len(self.probs) != len(self.directions) or sum(self.probs) > 1 + 1e-6:
            raise ConfigError(
                f'RandomFlip: expected a probability for each of {self.directions} with a sum '
                f'of at most 1, got {prob!r}'
            )
        self.flip_indices = list(flip_indices) if flip_indices is not None else None

    def transform(self, results: dict) -> dict:
        """Draw the direction, then flip."""
        draw, total = self.rng(results).random(), 0.0
        results['flip'], results['flip_direction'] = False, None
        for direction, prob in zip(self.directions, self.probs):
            total += prob
            if draw < total:
                self.flip(results, direction)
                break
        return results

    def flip(self, results: dict, direction: str) -> None:
        """Flip in a given direction."""
        height, width = results['img'].shape[:2]
        results['img'] = np.ascontiguousarray(mmcv.imflip(results['img'], direction))
        across, down = direction != 'vertical', direction != 'horizontal'
        scale = (-1 if across else 1, -1 if down else 1)
        scale_and_shift(results, scale, (width if across else 0, height if down else 0))
        if 'gt_bboxes' in results:
            # What was the left edge is now the right one.
            boxes = results['gt_bboxes'].reshape(-1, 2, 2)
            results['gt_bboxes'] = np.concatenate([boxes.min(1), boxes.max(1)], 1)
        if 'gt_keypoints' in results and direction != 'diagonal':
            order = self._order(results)
            results['gt_keypoints'] = results['gt_keypoints'][:, order]
            results['gt_keypoints_visible'] = results['gt_keypoints_visible'][:, order]
        results['flip'], results['flip_direction'] = True, direction

    def _order(self, results: dict) -> list[int]:
        metainfo = getattr(results.get('dataset'), '_metainfo', None) or {}
        order = self.flip_indices or metainfo.get('flip_indices')
        count = results['gt_keypoints'].shape[1]
        if order is None or sorted(order) != list(range(count)):
            raise ConfigError(
                f'RandomFlip: expected flip_indices, a permutation of {count} keypoints, '
                f'got {order}; without it left and right would be confused'
            )
        return list(order)


@TRANSFORMS.register_module()
class Pad(_Pad):
    """Pad the image at the right and at the bottom; boxes stay.

    Args:
        size: (width, height) to reach.
        size_divisor: Instead: reach a multiple of this.
        pad_to_square: Instead or first: reach a square.
        pad_val: Value of the new pixels, one or one a channel, or ``dict(img=...)``.
        padding_mode: ``'constant'``, ``'edge'``, ``'reflect'`` or ``'symmetric'``.

    Deviation from mmcv: ``img_shape`` stays the size of the content, so that priors and
    predictions in the padding are known as such; ``pad_shape`` is the new size.
    """

    def __init__(
        self,
        size: Sequence[int] | None = None,
        size_divisor: int | None = None,
        pad_to_square: bool = False,
        pad_val: float | Sequence[float] | dict = 0,
        padding_mode: str = 'constant',
    ) -> None:
        if not isinstance(pad_val, dict):
            pad_val = dict(img=pad_val if isinstance(pad_val, (int, float)) else tuple(pad_val))
        super().__init__(
            size=tuple(size) if size is not None else None,
            size_divisor=size_divisor,
            pad_to_square=pad_to_square,
            pad_val=pad_val,
            padding_mode=padding_mode,
        )

    def transform(self, results: dict) -> dict:
        """Pad."""
        content = results['img'].shape[:2]
        results = super().transform(results)
        results['img_shape'] = content
        return results


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
        pad_w, pad_h = self.width - new_w, self.height - new_h
        left, top = pad_w // 2, pad_h // 2
        border = (top, pad_h - top, left, pad_w - left)
        channels = results['img'].shape[2] if results['img'].ndim == 3 else 1
        results['img'] = cv2.copyMakeBorder(
            results['img'], *border, cv2.BORDER_CONSTANT, value=(self.pad_val,) * channels
        )
        results['scale_factor'] = (new_w / w, new_h / h)
        results['pad_param'] = border
        results['img_shape'] = results['pad_shape'] = results['img'].shape[:2]
        scale_and_shift(results, results['scale_factor'], (left, top))
        clip(results, *results['img_shape'])
        drop_degenerate(results)
        return results
