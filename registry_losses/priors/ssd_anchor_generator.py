"""The default boxes of SSD."""

import math
from collections.abc import Sequence

from ..errors import ConfigError
from ..registry import TASK_UTILS
from .anchor_generator import BaseAnchorGenerator, anchors_around
from .base import pair

_FIRST_PERCENT = {10: 4, 15: 7, 20: 10}
"""Smallest size of the first level, in percent of the input, by the smallest of the
others. Not a formula: these are the numbers of the paper's released models."""


def ssd_sizes(
    input_size: int, ratio_range: tuple[float, float], num_levels: int
) -> tuple[list[int], list[int]]:
    """Smallest and largest side of each level's square boxes, in pixels.

    The levels from the second on divide ``ratio_range`` evenly, in whole percent of the
    input; the first is smaller. Liu et al., SSD, ECCV 2016, equation 4.

    Args:
        input_size: Side of the input.
        ratio_range: Share of the input at the second level and at the end.
        num_levels: At least 3.
    """
    if num_levels < 3:
        raise ConfigError(f'basesize_ratio_range: needs 3 levels or more, got {num_levels}')
    low, high = int(ratio_range[0] * 100), int(ratio_range[1] * 100)
    step = int((high - low) / (num_levels - 2))
    if step < 1:
        raise ConfigError(f'basesize_ratio_range: {ratio_range} leaves no room for the levels')
    percents = [_FIRST_PERCENT.get(low, low // 2), *range(low, high + 1, step)]
    tops = [low, *(percent + step for percent in percents[1:])]
    lows = [int(input_size * percent / 100) for percent in percents]
    highs = [int(input_size * percent / 100) for percent in tops]
    return lows[:num_levels], highs[:num_levels]


@TASK_UTILS.register_module()
class SSDAnchorGenerator(BaseAnchorGenerator):
    """SSD's boxes: two squares per cell, and two for every further aspect ratio.

    In order: a square of the level's smallest size s, one of ``sqrt(s * largest)``,
    then for every ratio r a box of s with ratio 1 / r and one with r.
    Liu et al., SSD: Single Shot MultiBox Detector, ECCV 2016, section 2.2.

    Args:
        strides: Of each level, one number or (x, y).
        ratios: Aspect ratios beside 1, a list a level.
        min_sizes: Smallest size of each level, in pixels; with ``max_sizes``, in place of
            ``basesize_ratio_range``.
        max_sizes: Largest size of each level.
        basesize_ratio_range: See :func:`ssd_sizes`.
        input_size: Side of the input, 300 or 512 in the paper; any other works.
        scale_major: Accepted as in OpenMMLab's configs, where it must be False.

    Raises:
        ConfigError: If sizes are given in both ways, or numbers of levels differ.
    """

    def __init__(
        self,
        strides: Sequence[float | Sequence[float]],
        ratios: Sequence[Sequence[float]],
        min_sizes: Sequence[float] | None = None,
        max_sizes: Sequence[float] | None = None,
        basesize_ratio_range: tuple[float, float] = (0.15, 0.9),
        input_size: int = 300,
        scale_major: bool = False,
    ) -> None:
        if scale_major:
            raise ConfigError('SSDAnchorGenerator: scale_major must be False')
        if (min_sizes is None) != (max_sizes is None):
            raise ConfigError('SSDAnchorGenerator: give both min_sizes and max_sizes, or neither')
        if min_sizes is None or max_sizes is None:
            min_sizes, max_sizes = ssd_sizes(input_size, basesize_ratio_range, len(strides))
        for name, given in (('ratios', ratios), ('min_sizes', min_sizes), ('max_sizes', max_sizes)):
            if len(given) != len(strides):
                raise ConfigError(
                    f'{name}: expected {len(strides)} (one a stride), got {len(given)}'
                )
        centers = [(pair(stride)[0] / 2, pair(stride)[1] / 2) for stride in strides]
        anchors = []
        for center, low, high, further in zip(centers, min_sizes, max_sizes, ratios):
            shapes = [1.0]
            for ratio in further:
                shapes += [1 / ratio, ratio]
            boxes = anchors_around(
                low, [1.0, math.sqrt(high / low)], shapes, center, scale_major=False
            )
            # Of the larger scale only the square is used, as the second box.
            chosen = [0, len(shapes), *range(1, len(shapes))]
            anchors.append(boxes[chosen])
        super().__init__(strides, centers, anchors)
