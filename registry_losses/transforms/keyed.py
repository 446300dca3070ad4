"""The base of transforms that draw at random, and the wrappers that choose at random."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from mmcv.transforms import BaseTransform

from ..registry import TRANSFORMS

Transform = Mapping | Callable


def generator(results: dict) -> np.random.Generator:
    """The random generator of this sample.

    Our data sets put it into ``results['rng']``, keyed by (seed, epoch, sample index),
    and all transforms of the sample draw from it in turn. Where another data set left
    it out, one is seeded from NumPy's global state, which a worker's seed decides.
    """
    if results.get('rng') is None:
        results['rng'] = np.random.default_rng(np.random.randint(2**31))
    return results['rng']


class KeyedTransform(BaseTransform):
    """A transform whose only source of randomness is :func:`generator`."""

    @staticmethod
    def rng(results: dict) -> np.random.Generator:
        """The generator to draw from; see :func:`generator`."""
        return generator(results)


def build_transforms(transforms: Transform | Sequence[Transform]) -> list[Callable]:
    """Objects from config nodes, from this package's registry first."""
    if isinstance(transforms, Mapping) or callable(transforms):
        transforms = [transforms]
    return [TRANSFORMS.build(dict(t)) if isinstance(t, Mapping) else t for t in transforms]


def apply_all(transforms: Sequence[Callable], results: dict | None) -> dict | None:
    """One transform after the other; None, as soon as one returns it."""
    for transform in transforms:
        if results is None:
            return None
        results = transform(results)
    return results


def check_prob(name: str, prob: float) -> float:
    """``prob`` if it is a probability, else ``ValueError``."""
    if not 0 <= prob <= 1:
        raise ValueError(f'{name}: expected a probability in [0, 1], got {prob!r}')
    return float(prob)


@TRANSFORMS.register_module()
class RandomApply(KeyedTransform):
    """Apply some transforms with a probability.

    Args:
        transforms: One or more transforms, or config nodes.
        prob: Probability of applying all of them.

    Deviation from mmcv's class of this name: draws from the sample's own generator.
    """

    def __init__(self, transforms: Transform | Sequence[Transform], prob: float = 0.5) -> None:
        self.transforms = build_transforms(transforms)
        self.prob = check_prob('RandomApply.prob', prob)

    def transform(self, results: dict) -> dict | None:
        """Draw, then apply or pass on."""
        if self.rng(results).random() < self.prob:
            return apply_all(self.transforms, results)
        return results


@TRANSFORMS.register_module()
class RandomChoice(KeyedTransform):
    """Apply one out of several sequences of transforms.

    Args:
        transforms: The sequences.
        prob: Their probabilities, which sum to 1. Defaults to equal ones.

    Deviation from mmcv's class of this name: draws from the sample's own generator.
    """

    def __init__(
        self,
        transforms: Sequence[Transform | Sequence[Transform]],
        prob: Sequence[float] | None = None,
    ) -> None:
        self.transforms = [build_transforms(t) for t in transforms]
        if prob is not None and (len(prob) != len(transforms) or abs(sum(prob) - 1) > 1e-6):
            raise ValueError(
                f'RandomChoice.prob: expected {len(transforms)} numbers with sum 1, got {prob}'
            )
        self.prob = prob

    def transform(self, results: dict) -> dict | None:
        """Draw a sequence and apply it."""
        index = self.rng(results).choice(len(self.transforms), p=self.prob)
        return apply_all(self.transforms[index], results)
