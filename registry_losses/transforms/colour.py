"""Changes of colour that leave the geometry alone. Images are ``(H, W, 3)`` in 0 to 255."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ..registry import TRANSFORMS
from .keyed import KeyedTransform, check_prob


@TRANSFORMS.register_module()
class RandomInvert(KeyedTransform):
    """Replace the image by its negative, ``255 - x``.

    Args:
        prob: Probability of the negative.
    """

    def __init__(self, prob: float = 0.5) -> None:
        self.prob = check_prob('RandomInvert.prob', prob)

    def transform(self, results: dict) -> dict:
        """Draw, then invert."""
        if self.rng(results).random() < self.prob:
            results['img'] = 255 - results['img']
        return results


@TRANSFORMS.register_module()
class RandomChannelPermute(KeyedTransform):
    """Put the colour channels in a random order (the given order being one of them).

    Args:
        prob: Probability of drawing an order at all.
    """

    def __init__(self, prob: float = 1.0) -> None:
        self.prob = check_prob('RandomChannelPermute.prob', prob)

    def transform(self, results: dict) -> dict:
        """Draw the order, then apply it."""
        rng = self.rng(results)
        if rng.random() < self.prob:
            order = rng.permutation(results['img'].shape[2])
            results['img'] = np.ascontiguousarray(results['img'][..., order])
        return results


@TRANSFORMS.register_module()
class RandomBrightnessContrast(KeyedTransform):
    """``a (x - mean) + mean + b``: contrast ``a``, brightness ``b``, clipped to 0 to 255.

    Args:
        brightness: ``b`` is uniform in plus or minus this, in grey levels.
        contrast: ``a`` is uniform in ``1 - contrast`` to ``1 + contrast``.
        prob: Probability of a change.
    """

    def __init__(self, brightness: float = 32, contrast: float = 0.25, prob: float = 0.5) -> None:
        self.brightness = brightness
        self.contrast = contrast
        self.prob = check_prob('RandomBrightnessContrast.prob', prob)

    def transform(self, results: dict) -> dict:
        """Draw, then change."""
        rng = self.rng(results)
        if rng.random() < self.prob:
            image = results['img']
            factor = rng.uniform(1 - self.contrast, 1 + self.contrast)
            offset = rng.uniform(-self.brightness, self.brightness)
            mean = float(image.mean())
            shift = mean * (1 - factor) + offset
            if image.dtype == np.uint8:
                # A table of 256 entries: one pass over the pixels, no float image.
                table = np.clip(np.arange(256) * factor + shift + 0.5, 0, 255).astype(np.uint8)
                results['img'] = cv2.LUT(image, table)
            else:
                results['img'] = np.clip(image * np.float32(factor) + np.float32(shift), 0, 255)
        return results


@TRANSFORMS.register_module()
class PhotoMetricDistortion(KeyedTransform):
    """SSD's colour distortion of a BGR image; each step has probability one half.

    Brightness; contrast first or last; saturation and hue in HSV; channel order.

    Args:
        brightness_delta: Added value is uniform in plus or minus this.
        contrast_range: Factor on the pixel values.
        saturation_range: Factor on S.
        hue_delta: Degrees added to H, uniform in plus or minus this.

    Source: Liu et al., "SSD: Single Shot MultiBox Detector", ECCV 2016, section 3.6, and
    its released code. The image keeps its dtype; uint8 is rounded at the end.
    """

    def __init__(
        self,
        brightness_delta: float = 32,
        contrast_range: Sequence[float] = (0.5, 1.5),
        saturation_range: Sequence[float] = (0.5, 1.5),
        hue_delta: float = 18,
    ) -> None:
        self.brightness_delta = brightness_delta
        low, high = contrast_range
        self.contrast_range = (low, high)
        low, high = saturation_range
        self.saturation_range = (low, high)
        self.hue_delta = hue_delta

    def transform(self, results: dict) -> dict:
        """Draw all decisions, then apply them in order."""
        rng = self.rng(results)
        brightness, contrast, contrast_first, saturation, hue, swap = rng.random(6) < 0.5
        delta = rng.uniform(-self.brightness_delta, self.brightness_delta)
        alpha = rng.uniform(*self.contrast_range)
        gain = rng.uniform(*self.saturation_range)
        turn = rng.uniform(-self.hue_delta, self.hue_delta)
        order = rng.permutation(3)
        dtype = results['img'].dtype
        image = results['img'].astype(np.float32)
        if brightness:
            image += np.float32(delta)
        if contrast and contrast_first:
            image *= np.float32(alpha)
        if saturation or hue:
            image = _in_hsv(image, gain if saturation else 1.0, turn if hue else 0.0)
        if contrast and not contrast_first:
            image *= np.float32(alpha)
        if swap:
            image = np.ascontiguousarray(image[..., order])
        results['img'] = _restore(image, dtype)
        return results


@TRANSFORMS.register_module()
class HSVJitter(KeyedTransform):
    """Multiply hue, saturation and value of a BGR image by random gains.

    Each gain is ``1 + u * delta`` with u uniform in [-1, 1], as YOLOv5 draws them.

    Args:
        hue_delta: For H.
        saturation_delta: For S.
        value_delta: For V.

    Source: Jocher, YOLOv5, ``augment_hsv``.
    """

    def __init__(
        self, hue_delta: float = 0.015, saturation_delta: float = 0.7, value_delta: float = 0.4
    ) -> None:
        self.deltas = np.array([hue_delta, saturation_delta, value_delta])

    def transform(self, results: dict) -> dict:
        """Draw the gains, then apply them by tables."""
        gains = 1 + self.rng(results).uniform(-1, 1, 3) * self.deltas
        image = results['img']
        dtype = image.dtype
        hue, saturation, value = cv2.split(
            cv2.cvtColor(_restore(image, np.dtype(np.uint8)), cv2.COLOR_BGR2HSV)
        )
        steps = np.arange(256)
        tables = [
            (steps * gains[0] % 180).astype(np.uint8),
            np.clip(steps * gains[1], 0, 255).astype(np.uint8),
            np.clip(steps * gains[2], 0, 255).astype(np.uint8),
        ]
        merged = cv2.merge([cv2.LUT(c, t) for c, t in zip((hue, saturation, value), tables)])
        results['img'] = cv2.cvtColor(merged, cv2.COLOR_HSV2BGR).astype(dtype, copy=False)
        return results


def _in_hsv(image: np.ndarray, gain: float, turn: float) -> np.ndarray:
    """Scale S by ``gain`` and turn H by ``turn`` degrees; ``image`` float32 in 0 to 255."""
    hsv = cv2.cvtColor(np.clip(image, 0, 255) * np.float32(1 / 255), cv2.COLOR_BGR2HSV)
    hsv[..., 0] = (hsv[..., 0] + np.float32(turn)) % 360
    hsv[..., 1] = np.clip(hsv[..., 1] * np.float32(gain), 0, 1)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR) * np.float32(255)


def _restore(image: np.ndarray, dtype: np.dtype) -> np.ndarray:
    clipped = np.clip(image, 0, 255)
    if dtype == np.uint8:
        return clipped if clipped.dtype == np.uint8 else (clipped + 0.5).astype(np.uint8)
    return clipped.astype(dtype, copy=False)
