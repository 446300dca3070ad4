"""Mosaic and mixup whose partners come from a cache of images seen before.

No partner is loaded, which is what mosaics cost most: RTMDet's recipe (Lyu et al.,
arXiv:2212.07784, section 3.3, cached mosaic and mixup).

The cache is the one thing here that is no function of (seed, epoch, sample index): it holds
what the same worker process has seen before, so that a resumed run or another number of
workers mixes other images.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np

from ..errors import ConfigError
from ..registry import TRANSFORMS
from .mix import MixUp, Mosaic, WithPartners

# What an image needs not keep: its generator is drawn from, its data set is the same.
_NOT_KEPT = ('rng', 'dataset')


class ImageCache:
    """The last images that were seen.

    Args:
        owner: Names the transform in messages.
        size: How many are kept.
        least: How many there must be before one may be taken.
        random_pop: Whether any of them makes room for a new one, or the oldest.

    Raises:
        ConfigError: If fewer are kept than must be there.
    """

    def __init__(self, owner: str, size: int, least: int, random_pop: bool) -> None:
        if size < least:
            raise ConfigError(f'{owner}.max_cached_images: expected at least {least}, got {size}')
        self.size, self.least, self.random_pop = size, least, random_pop
        self.kept: list[dict] = []

    @property
    def is_filled(self) -> bool:
        """Whether images may be taken."""
        return len(self.kept) >= self.least

    def put(self, results: dict, rng: np.random.Generator) -> None:
        """Keep a copy of an image."""
        whole = {key: value for key, value in results.items() if key not in _NOT_KEPT}
        self.kept.append(copy.deepcopy(whole))
        if len(self.kept) > self.size:
            self.kept.pop(int(rng.integers(len(self.kept))) if self.random_pop else 0)

    def take(self, rng: np.random.Generator) -> dict:
        """A copy of one of them."""
        return copy.deepcopy(self.kept[int(rng.integers(len(self.kept)))])


class _FromCache(WithPartners):
    """Partners are images kept in ``cache``; until it is filled, images stay as they are."""

    cache: ImageCache

    def transform(self, results: dict) -> dict | None:
        """Keep the image; draw, mix."""
        self.cache.put(results, self.rng(results))
        return super().transform(results) if self.cache.is_filled else results

    def partner(self, results: dict, rng: np.random.Generator) -> dict:
        """One of the images kept."""
        return self.cache.take(rng)


@TRANSFORMS.register_module()
class CachedMosaic(_FromCache, Mosaic):
    """:class:`Mosaic` whose partners are images seen before.

    The first four images stay as they are.

    Args:
        img_scale: (width, height) of one image; the canvas is twice that.
        center_ratio_range: Range of the centre, as a factor on ``img_scale``.
        pad_val: Value of the canvas.
        prob: Probability of a mosaic.
        max_cached_images: Images kept, at least 5.
        random_pop: Whether any of them makes room for a new one, or the oldest.

    Source: Lyu et al., "RTMDet", 2022, section 3.3.
    """

    def __init__(
        self,
        img_scale: Sequence[int] = (640, 640),
        center_ratio_range: Sequence[float] = (0.5, 1.5),
        pad_val: float = 114,
        prob: float = 1.0,
        *,
        max_cached_images: int = 40,
        random_pop: bool = True,
    ) -> None:
        super().__init__(img_scale, center_ratio_range, pad_val, prob=prob)
        self.cache = ImageCache(type(self).__name__, max_cached_images, 5, random_pop)


@TRANSFORMS.register_module()
class CachedMixUp(_FromCache, MixUp):
    """:class:`MixUp` whose partner is an image seen before.

    The first image stays as it is.

    Args:
        img_scale: (width, height) that the partner is fitted to.
        ratio_range: Random factor on the partner.
        flip_ratio: Probability of a horizontal flip of the partner.
        pad_val: Value of the canvas.
        prob: Probability of mixing.
        max_cached_images: Images kept, at least 2.
        random_pop: Whether any of them makes room for a new one, or the oldest.

    Source: Lyu et al., "RTMDet", 2022, section 3.3.
    """

    def __init__(
        self,
        img_scale: Sequence[int] = (640, 640),
        ratio_range: Sequence[float] = (0.5, 1.5),
        flip_ratio: float = 0.5,
        pad_val: float = 114,
        prob: float = 1.0,
        *,
        max_cached_images: int = 20,
        random_pop: bool = True,
    ) -> None:
        super().__init__(img_scale, ratio_range, flip_ratio, pad_val, prob=prob)
        self.cache = ImageCache(type(self).__name__, max_cached_images, 2, random_pop)
