"""Rotate, scale, shear and shift: image, boxes and keypoints together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from ..errors import ConfigError
from ..registry import TRANSFORMS
from .ignored_mask import change_mask
from .instances import affine, clip, select
from .keyed import KeyedTransform


@TRANSFORMS.register_module()
class RandomAffine(KeyedTransform):
    """Rotate, scale, shear and shift, all about the centre of the image.

    An object is dropped when, after clipping, a side is not above ``min_bbox_size``,
    less than ``min_area_ratio`` of its (scaled) area is left, or it is more than
    ``max_aspect_ratio`` times as long as wide.

    Args:
        max_rotate_degree: Angle is uniform in plus or minus this.
        max_translate_ratio: Shift, as a share of the output, in plus or minus this.
        scaling_ratio_range: Factor.
        max_shear_degree: Angle of the shear, for x and for y, in plus or minus this.
        border: (width, height) added on each side to the output; negative cuts.
        border_val: Value of new pixels.
        bbox_clip_border: Clip the boxes to the output.
        min_bbox_size: Pixels.
        min_area_ratio: In [0, 1].
        max_aspect_ratio: At least 1.

    Source: Jocher, YOLOv5, ``random_perspective``; Ge et al., "YOLOX", 2021.
    """

    def __init__(
        self,
        max_rotate_degree: float = 10.0,
        max_translate_ratio: float = 0.1,
        scaling_ratio_range: Sequence[float] = (0.5, 1.5),
        max_shear_degree: float = 2.0,
        border: Sequence[int] = (0, 0),
        border_val: Sequence[float] = (114, 114, 114),
        bbox_clip_border: bool = True,
        min_bbox_size: float = 2,
        min_area_ratio: float = 0.1,
        max_aspect_ratio: float = 20,
    ) -> None:
        low, high = scaling_ratio_range
        if not 0 < low <= high:
            raise ConfigError(f'scaling_ratio_range: expected 0 < low <= high, got {low}, {high}')
        self.max_rotate_degree = max_rotate_degree
        self.max_translate_ratio = max_translate_ratio
        self.scaling_ratio_range = (low, high)
        self.max_shear_degree = max_shear_degree
        self.border = tuple(border)
        self.border_val = tuple(border_val)
        self.bbox_clip_border = bbox_clip_border
        self.min_bbox_size = min_bbox_size
        self.min_area_ratio = min_area_ratio
        self.max_aspect_ratio = max_aspect_ratio

    def transform(self, results: dict) -> dict:
        """Draw the map, then warp image and annotations."""
        height, width = results['img'].shape[:2]
        out_w, out_h = width + 2 * self.border[0], height + 2 * self.border[1]
        matrix, scale = self.matrix(self.rng(results), (width, height), (out_w, out_h))
        # OpenCV counts from pixel centres, boxes from pixel edges: half a pixel apart.
        half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])
        on_centres = np.linalg.inv(half) @ matrix @ half
        results['img'] = cv2.warpAffine(
            results['img'], on_centres[:2], (out_w, out_h), borderValue=self.border_val
        )
        change_mask(
            results,
            lambda mask: cv2.warpAffine(
                mask, on_centres[:2], (out_w, out_h), flags=cv2.INTER_NEAREST
            ),
        )
        results['img_shape'] = (out_h, out_w)
        before = results['gt_bboxes'] * scale if 'gt_bboxes' in results else None
        affine(results, matrix)
        if self.bbox_clip_border:
            clip(results, out_h, out_w)
        if before is not None:
            select(results, self._worth_keeping(before, results['gt_bboxes']))
        return results

    def matrix(
        self, rng: np.random.Generator, size: tuple[int, int], out_size: tuple[int, int]
    ) -> tuple[np.ndarray, float]:
        """The 3 x 3 map of (x, y, 1) and its scale factor."""
        angle = math.radians(rng.uniform(-self.max_rotate_degree, self.max_rotate_degree))
        scale = rng.uniform(*self.scaling_ratio_range)
        shear_x, shear_y = np.tan(
            np.radians(rng.uniform(-self.max_shear_degree, self.max_shear_degree, 2))
        )
        shift = rng.uniform(-self.max_translate_ratio, self.max_translate_ratio, 2)
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        linear = np.array([[1, shear_x], [shear_y, 1]]) @ turn * scale
        centre, target = np.array(size) / 2, np.array(out_size) * (0.5 + shift)
        matrix = np.eye(3)
        matrix[:2, :2] = linear
        matrix[:2, 2] = target - linear @ centre
        return matrix, float(scale)

    def _worth_keeping(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        old, new = before[:, 2:] - before[:, :2], after[:, 2:] - after[:, :2]
        ratio = new.max(1) / np.maximum(new.min(1), 1e-9) if len(new) else np.zeros(0)
        return (
            (new > self.min_bbox_size).all(1)
            & (new.prod(1) > self.min_area_ratio * np.maximum(old.prod(1), 1e-9))
            & (ratio < self.max_aspect_ratio)
        )
