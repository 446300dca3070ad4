"""Transforms of image and annotations, random ones keyed by (seed, epoch, sample index)."""

from .colour import (
    HSVJitter,
    PhotoMetricDistortion,
    RandomBrightnessContrast,
    RandomChannelPermute,
    RandomInvert,
)
from .formatting import PackDetInputs
from .geometric import (
    LetterResize,
    Pad,
    RandomChoiceResize,
    RandomFlip,
    RandomResize,
    Resize,
)
from .keyed import KeyedTransform, RandomApply, RandomChoice, generator
from .loading import CachedLoadImage, LoadAnnotations, LoadImageFromFile

__all__ = [
    'CachedLoadImage',
    'HSVJitter',
    'KeyedTransform',
    'LetterResize',
    'LoadAnnotations',
    'LoadImageFromFile',
    'PackDetInputs',
    'Pad',
    'PhotoMetricDistortion',
    'RandomApply',
    'RandomBrightnessContrast',
    'RandomChannelPermute',
    'RandomChoice',
    'RandomChoiceResize',
    'RandomFlip',
    'RandomInvert',
    'RandomResize',
    'Resize',
    'generator',
]
