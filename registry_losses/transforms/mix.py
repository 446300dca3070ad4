"""Augmentations that put several images together, and the affine map that follows them.

Partners come from ``results['dataset']``, which our data sets set; they are drawn from
the sample's generator, so they too are a function of (seed, epoch, sample index).
"""

from __future__ import annotations

from collections.abc import Sequence

import mmcv
import numpy as np

from ..errors import ConfigError, DamagedImageError
from ..registry import TRANSFORMS
from .instances import concatenate, scale_and_shift, to_image
from .keyed import KeyedTransform, Transform, apply_all, build_transforms, check_prob

_TRIES = 15


class WithPartners(KeyedTransform):
    """A transform that loads further samples.

    Args:
        pre_transform: What makes a partner out of its annotation: loading, and whatever
            has been done to the first image before this transform.
        prob: Probability of mixing.
    """

    def __init__(
        self, pre_transform: Transform | Sequence[Transform] = (), prob: float = 1.0
    ) -> None:
        self.pre_transform = build_transforms(
            pre_transform or [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
        )
        self.prob = check_prob(f'{type(self).__name__}.prob', prob)

    def transform(self, results: dict) -> dict | None:
        """Draw, load the partners, mix."""
        rng = self.rng(results)
        if rng.random() >= self.prob:
            return results
        return self.mix(results, rng)

    def mix(self, results: dict, rng: np.random.Generator) -> dict | None:
        """Mix the sample with its partners; a subclass implements it."""
        raise NotImplementedError

    def partner(self, results: dict, rng: np.random.Generator) -> dict:
        """Another sample, drawn and loaded."""
        dataset = results.get('dataset')
        if dataset is None:
            raise ConfigError(
                f"{type(self).__name__}: results has no 'dataset' to draw partners from; "
                'use a data set of this package'
            )
        for _ in range(_TRIES):
            info = dataset.get_data_info(int(rng.integers(len(dataset))))
            info['rng'] = rng
            try:
                loaded = apply_all(self.pre_transform, info)
            except DamagedImageError as error:
                note = getattr(dataset, 'note_damaged', None)
                if note is None:
                    raise
                note(str(error))
                continue
            if loaded is not None:
                return loaded
        raise ConfigError(f'{type(self).__name__}: pre_transform returns None for all partners')


@TRANSFORMS.register_module()
class Mosaic(WithPartners):
    """Four images around a random centre on a canvas of twice the size.

    The given image lies above left of the centre, three partners above right, below
    left and below right. Each is resized to fit ``img_scale`` with its ratio kept, and
    cut where it passes the canvas. Usually followed by :class:`RandomAffine` with
    ``border=(-w / 2, -h / 2)``.

    Args:
        img_scale: (width, height) of one image; the canvas is twice that.
        center_ratio_range: Range of the centre, as a factor on ``img_scale``.
        pad_val: Value of the canvas.
        pre_transform: Transforms of the partners. Default: load image and annotations.
        prob: Probability of a mosaic.

    Source: Bochkovskiy et al., "YOLOv4", 2020, section 3.3.
    """

    def __init__(
        self,
        img_scale: Sequence[int] = (640, 640),
        center_ratio_range: Sequence[float] = (0.5, 1.5),
        pad_val: float = 114,
        pre_transform: Transform | Sequence[Transform] = (),
        prob: float = 1.0,
    ) -> None:
        super().__init__(pre_transform, prob)
        self.img_scale = tuple(img_scale)
        low, high = center_ratio_range
        self.center_ratio_range = (low, high)
        self.pad_val = pad_val

    def mix(self, results: dict, rng: np.random.Generator) -> dict:
        """Load three partners and put the four images on one canvas."""
        width, height = self.img_scale
        cx = int(rng.uniform(*self.center_ratio_range) * width)
        cy = int(rng.uniform(*self.center_ratio_range) * height)
        parts = [results] + [self.partner(results, rng) for _ in range(3)]
        image = results['img']
        canvas = np.full((2 * height, 2 * width, image.shape[2]), self.pad_val, image.dtype)
        for i, part in enumerate(parts):
            self._fit(part)
            h, w = part['img'].shape[:2]
            # The corner that touches the centre decides where the part begins.
            x = cx - w if i % 2 == 0 else cx
            y = cy - h if i < 2 else cy
            x1, y1 = max(x, 0), max(y, 0)
            x2, y2 = min(x + w, 2 * width), min(y + h, 2 * height)
            if x1 < x2 and y1 < y2:
                canvas[y1:y2, x1:x2] = part['img'][y1 - y : y2 - y, x1 - x : x2 - x]
            scale_and_shift(part, shift=(x, y))
        results.update(concatenate(parts))
        results['img'] = canvas
        to_image(results)
        return results

    def _fit(self, part: dict) -> None:
        h, w = part['img'].shape[:2]
        ratio = min(self.img_scale[0] / w, self.img_scale[1] / h)
        size = max(1, round(w * ratio)), max(1, round(h * ratio))
        if size != (w, h):
            part['img'] = mmcv.imresize(part['img'], size)
            scale_and_shift(part, (size[0] / w, size[1] / h))


@TRANSFORMS.register_module()
class MixUp(WithPartners):
    """YOLOX's mixup: the mean of the image and a jittered partner of the same size.

    The partner is fitted to ``img_scale`` in the upper left corner of a canvas, scaled
    by a random factor, perhaps flipped, and cropped or padded at random to the image's
    size. Objects of both are kept.

    Args:
        img_scale: (width, height) that the partner is fitted to.
        ratio_range: Random factor on the partner.
        flip_ratio: Probability of a horizontal flip of the partner.
        pad_val: Value of the canvas.
        pre_transform: Transforms of the partner. Default: load image and annotations.
        prob: Probability of mixing.

    Source: Ge et al., "YOLOX", 2021, section 2.1, strong data augmentation.
    """

    def __init__(
        self,
        img_scale: Sequence[int] = (640, 640),
        ratio_range: Sequence[float] = (0.5, 1.5),
        flip_ratio: float = 0.5,
        pad_val: float = 114,
        pre_transform: Transform | Sequence[Transform] = (),
        prob: float = 1.0,
    ) -> None:
        super().__init__(pre_transform, prob)
        self.img_scale = tuple(img_scale)
        low, high = ratio_range
        self.ratio_range = (low, high)
        self.flip_ratio = check_prob('MixUp.flip_ratio', flip_ratio)
        self.pad_val = pad_val

    def mix(self, results: dict, rng: np.random.Generator) -> dict:
        """Load a partner, jitter it and take the mean."""
        part = self.partner(results, rng)
        if 'gt_keypoints' in part:
            raise ConfigError('MixUp: flips do not know left from right; use YOLOv5MixUp')
        self._jitter(part, rng)
        height, width = results['img'].shape[:2]
        self._to_size(part, rng, height, width)
        return blend(results, part, 0.5)

    def _jitter(self, part: dict, rng: np.random.Generator) -> None:
        h, w = part['img'].shape[:2]
        fit = min(self.img_scale[0] / w, self.img_scale[1] / h)
        jitter = rng.uniform(*self.ratio_range)
        new_w, new_h = max(1, round(w * fit)), max(1, round(h * fit))
        canvas = np.full(
            (self.img_scale[1], self.img_scale[0], part['img'].shape[2]),
            self.pad_val,
            part['img'].dtype,
        )
        canvas[:new_h, :new_w] = mmcv.imresize(part['img'], (new_w, new_h))
        out_w, out_h = (max(1, int(s * jitter)) for s in self.img_scale)
        part['img'] = mmcv.imresize(canvas, (out_w, out_h))
        factor = np.array([out_w / self.img_scale[0], out_h / self.img_scale[1]])
        scale_and_shift(part, factor * [new_w / w, new_h / h])
        if rng.random() < self.flip_ratio:
            part['img'] = np.ascontiguousarray(part['img'][:, ::-1])
            boxes = part['gt_bboxes']
            part['gt_bboxes'] = np.stack(
                [out_w - boxes[:, 2], boxes[:, 1], out_w - boxes[:, 0], boxes[:, 3]], 1
            )

    def _to_size(self, part: dict, rng: np.random.Generator, height: int, width: int) -> None:
        h, w = part['img'].shape[:2]
        canvas = np.full((max(h, height), max(w, width), 3), self.pad_val, part['img'].dtype)
        canvas[:h, :w] = part['img']
        x = int(rng.integers(0, canvas.shape[1] - width + 1))
        y = int(rng.integers(0, canvas.shape[0] - height + 1))
        part['img'] = canvas[y : y + height, x : x + width]
        scale_and_shift(part, shift=(-x, -y))
        to_image(part)


@TRANSFORMS.register_module()
class YOLOv5MixUp(WithPartners):
    """YOLOv5's mixup: ``r x image + (1 - r) x partner`` with r from a beta distribution.

    Args:
        alpha: First parameter of the beta distribution, above 0.
        beta: Second parameter, above 0.
        pre_transform: Transforms of the partner, which have to bring it to the size of
            the image (a mosaic and an affine map, usually).
        prob: Probability of mixing.

    Source: Zhang et al., "mixup", ICLR 2018; Jocher, YOLOv5, ``mixup``.
    """

    def __init__(
        self,
        alpha: float = 32.0,
        beta: float = 32.0,
        pre_transform: Transform | Sequence[Transform] = (),
        prob: float = 1.0,
    ) -> None:
        super().__init__(pre_transform, prob)
        self.alpha = alpha
        self.beta = beta

    def mix(self, results: dict, rng: np.random.Generator) -> dict:
        """Load a partner and blend."""
        part = self.partner(results, rng)
        if part['img'].shape != results['img'].shape:
            raise ConfigError(
                f'YOLOv5MixUp: expected a partner of shape {results["img"].shape}, got '
                f'{part["img"].shape}; give the transforms before this one as pre_transform'
            )
        return blend(results, part, float(rng.beta(self.alpha, self.beta)))


def blend(results: dict, part: dict, weight: float) -> dict:
    """``weight x image + (1 - weight) x partner`` with the instances of both, in place."""
    image = results['img'].astype(np.float32) * weight
    image += part['img'].astype(np.float32) * (1 - weight)
    if results['img'].dtype == np.uint8:
        image = np.clip(image + 0.5, 0, 255)
    results['img'] = image.astype(results['img'].dtype)
    results.update(concatenate([results, part]))
    results['img_shape'] = results['img'].shape[:2]
    return results
