"""Flip and pad: image, boxes and keypoints together."""

from __future__ import annotations

from collections.abc import Sequence

import mmcv
import numpy as np
from mmcv.transforms import Pad as _Pad

from ..errors import ConfigError
from ..registry import TRANSFORMS
from .ignored_mask import change_mask, pad_mask
from .instances import scale_and_shift
from .keyed import KeyedTransform, check_prob

Size = int | Sequence[int]


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
        change_mask(results, lambda mask: mmcv.imflip(mask, direction))
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
        height, width = results['img'].shape[:2]
        pad_mask(results, 0, height - content[0], 0, width - content[1])
        return results
