"""Suppression as a config's ``nms`` node describes it: plain or soft, by class or over all.

Shapes: n boxes, G groups, S boxes of the largest group.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError, nearest_names
from .box_pair import BoxPair
from .nms import batched_nms

_COMMON = ('type', 'iou_threshold', 'class_agnostic', 'max_num', 'split_thr', 'offset')
_KEYS = {
    'nms': (*_COMMON, 'score_threshold'),
    'soft_nms': (*_COMMON, 'method', 'sigma', 'min_score'),
}
_METHODS = ('linear', 'gaussian', 'naive')


@dataclass(frozen=True)
class Suppression:
    """A way to suppress.

    Attributes:
        iou_threshold: Boxes that overlap a better one by more are affected.
        class_agnostic: Boxes of one image compete whatever their class.
        method: None for plain NMS; ``linear``, ``gaussian`` or ``naive`` for Soft-NMS.
        sigma: Width of the Gaussian.
        min_score: Soft-NMS drops what falls below; plain NMS what lies at or below before.
        max_num: Most boxes of an image, for whoever knows the images; negative for all.
    """

    iou_threshold: float
    class_agnostic: bool = False
    method: str | None = None
    sigma: float = 0.5
    min_score: float = 0.0
    max_num: int = -1

    @staticmethod
    def of(node: Mapping[str, Any]) -> Suppression:
        """Read a config node; the keys are MMCV's, ``iou_thr`` stands for ``iou_threshold``.

        Raises:
            ConfigError: If the type or a key is unknown, or a value out of range.

        Example:
            >>> Suppression.of(dict(type='soft_nms', iou_threshold=0.3, min_score=0.05)).method
            'linear'
        """
        node = dict(node)
        kind = node.setdefault('type', 'nms')
        if not isinstance(kind, str) or kind not in _KEYS:
            raise ConfigError(f'nms.type: expected one of {", ".join(_KEYS)}, got {kind!r}')
        if 'iou_thr' in node:
            if 'iou_threshold' in node:
                raise ConfigError('nms.iou_thr stands beside nms.iou_threshold; keep one')
            node['iou_threshold'] = node.pop('iou_thr')
        for key in node:
            if key not in _KEYS[kind]:
                near = nearest_names(key, _KEYS[kind]) or sorted(_KEYS[kind])
                raise ConfigError(
                    f'nms.{key}: {kind} does not read this key. Nearest: {", ".join(near)}'
                )
        if node.get('offset', 0) != 0:
            raise ConfigError('nms.offset: expected 0: boxes are not counted in whole pixels')
        soft = kind == 'soft_nms'
        if not soft and 'iou_threshold' not in node:
            raise ConfigError('nms.iou_threshold: nms needs this key')
        found = Suppression(
            iou_threshold=node.get('iou_threshold', 0.3),
            class_agnostic=bool(node.get('class_agnostic', False)),
            method=node.get('method', 'linear') if soft else None,
            sigma=node.get('sigma', 0.5),
            min_score=node.get('min_score', 1e-3) if soft else node.get('score_threshold', 0.0),
            max_num=node.get('max_num', -1),
        )
        for key in ('iou_threshold', 'sigma', 'min_score', 'max_num'):
            value = getattr(found, key)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ConfigError(f'nms.{key}: expected a number, got {value!r}')
        if not 0 <= found.iou_threshold <= 1:
            raise ConfigError(f'nms.iou_threshold: expected 0 to 1, got {found.iou_threshold}')
        if soft and found.method not in _METHODS:
            raise ConfigError(
                f'nms.method: expected one of {", ".join(_METHODS)}, got {found.method!r}'
            )
        if found.sigma <= 0:
            raise ConfigError(f'nms.sigma: expected above 0, got {found.sigma}')
        return found

    def __call__(self, boxes: Tensor, scores: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
        """Suppress within each group.

        Args:
            boxes: ``(n, 4)`` xyxy.
            scores: ``(n,)``.
            groups: ``(n,)`` integers: the image, or image and class.

        Returns:
            ``(k,)`` int64 indices of what is kept and ``(k,)`` its scores, best first.
        """
        if self.method is None:
            kept = batched_nms(boxes, scores, groups, self.iou_threshold)
            if self.min_score > 0:
                kept = kept[scores[kept] > self.min_score]
            values = scores[kept]
        else:
            kept, values = soft_nms(
                boxes,
                scores,
                groups,
                self.iou_threshold,
                method=self.method,
                sigma=self.sigma,
                min_score=self.min_score,
            )
        return kept, values


def soft_nms(
    boxes: Tensor,
    scores: Tensor,
    idxs: Tensor,
    iou_threshold: float = 0.3,
    *,
    method: str = 'linear',
    sigma: float = 0.5,
    min_score: float = 1e-3,
) -> tuple[Tensor, Tensor]:
    """Soft-NMS within each group: overlapping boxes lose score in place of going.

    The best box that is left is taken, then the score of every other is multiplied by

    * ``linear``: ``1 - IoU`` where the IoU reaches the threshold;
    * ``gaussian``: ``exp(-IoU^2 / sigma)``;
    * ``naive``: 0 where the IoU reaches the threshold, which is plain NMS,

    and what falls below ``min_score`` goes; until none is left. The groups take their steps
    together.

    Args:
        boxes: ``(n, 4)`` xyxy.
        scores: ``(n,)``; those below ``min_score`` take no part.
        idxs: ``(n,)`` integers, the group of each box.
        iou_threshold: In [0, 1].
        method: See above.
        sigma: Width of the Gaussian.
        min_score: Least score that is kept.

    Returns:
        ``(k,)`` int64 indices and ``(k,)`` lowered scores, best first.

    Source: Bodla et al., "Soft-NMS", ICCV 2017, eqs. 2 and 3. There the final decay of
    scores is the same; MMCV's operator also keeps a group's first box below ``min_score``.
    """
    index = (scores >= min_score).nonzero().squeeze(1)
    if not len(index):
        return index, scores[index]
    numbers = torch.unique(idxs[index], return_inverse=True)[1]
    order = torch.argsort(numbers, stable=True)
    index, numbers = index[order], numbers[order]
    counts = torch.bincount(numbers)
    place = torch.arange(len(index), device=index.device) - (counts.cumsum(0) - counts)[numbers]
    size = (len(counts), int(counts.max()))
    left = scores.new_full(size, -1.0, dtype=torch.float32)  # (G, S); -1: taken, gone or padding
    left[numbers, place] = scores[index].float()
    grid = boxes.new_zeros((*size, 4), dtype=torch.float32)
    grid[numbers, place] = boxes[index].detach().float()
    final = torch.full_like(left, -1.0)
    rows = torch.arange(size[0], device=left.device)
    while True:
        value, best = left.max(dim=1)
        open_ = value >= 0
        if not bool(open_.any()):
            break
        final[rows[open_], best[open_]] = value[open_]
        left[rows, best] = -1.0
        pair = BoxPair(grid[rows, best][:, None], grid)
        overlap = pair.overlap / pair.union.clamp(min=1e-30)  # (G, S)
        if method == 'gaussian':
            weight = torch.exp(-overlap.square() / sigma)
        else:
            kept = 1 - overlap if method == 'linear' else torch.zeros_like(overlap)
            weight = torch.where(overlap >= iou_threshold, kept, 1.0)
        left = torch.where(left >= 0, left * weight, left)
        left = torch.where(left < min_score, -1.0, left)
    values = final[numbers, place]
    best_first = torch.argsort(values, descending=True, stable=True)
    best_first = best_first[values[best_first] >= 0]
    return index[best_first], values[best_first].to(scores.dtype)
