"""The priors of one image, and what an assigner makes of them, as NumPy arrays.

Shapes: N priors, K pairs, E soft entries.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..structures import Assignment, Level, Priors


@dataclass(frozen=True, eq=False)
class ImageAssignment:
    """One image's part of an assignment, in arrays.

    Args:
        prior: ``(K,)`` the priors of the pairs.
        gt: ``(K,)``.
        quality: ``(K,)``.
        soft_prior: ``(E,)``.
        soft_value: ``(E,)``.
        ignored: ``(N,)`` bool.
    """

    prior: np.ndarray
    gt: np.ndarray
    quality: np.ndarray
    soft_prior: np.ndarray
    soft_value: np.ndarray
    ignored: np.ndarray

    @classmethod
    def of(cls, assignment: Assignment, image: int) -> ImageAssignment:
        """The part of one image of the batch."""
        own = assignment.select((assignment.image == image).nonzero().squeeze(1))
        soft_prior, soft_value = np.zeros(0, np.int64), np.zeros(0, np.float32)
        if assignment.soft is not None:
            mine = assignment.soft.image == image
            soft_prior = assignment.soft.prior[mine].cpu().numpy()
            soft_value = assignment.soft.value[mine].cpu().numpy()
        return cls(
            own.prior.cpu().numpy(),
            own.gt.cpu().numpy(),
            own.quality.cpu().numpy(),
            soft_prior,
            soft_value,
            assignment.ignored[image].cpu().numpy(),
        )


@dataclass(frozen=True, eq=False)
class PriorSet:
    """The priors of one image in arrays: centres and boxes in pixels, strides, levels."""

    centers: np.ndarray
    boxes: np.ndarray
    strides: np.ndarray
    levels: tuple[Level, ...]
    starts: tuple[int, ...]
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, priors: Priors, image: int) -> PriorSet:
        """The priors of one image of a batch."""

        def own(values) -> np.ndarray:
            values = values[image] if values.dim() == 3 else values
            return values.cpu().numpy().astype(np.float64)

        return cls(
            own(priors.centers),
            own(priors.boxes),
            own(priors.strides),
            priors.levels,
            priors.level_starts,
            priors.level_sizes,
        )
