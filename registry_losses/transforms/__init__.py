"""Transforms of image and annotations, random ones keyed by (seed, epoch, sample index)."""

from .affine import RandomAffine
from .cached_mix import CachedMixUp, CachedMosaic
from .colour import (
    HSVJitter,
    PhotoMetricDistortion,
    RandomBrightnessContrast,
    RandomChannelPermute,
    RandomInvert,
)
from .crop import Expand, MinIoURandomCrop, RandomCenterCropPad
from .formatting import PackDetInputs
from .geometric import Pad, RandomFlip
from .keyed import KeyedTransform, RandomApply, RandomChoice, generator
from .loading import CachedLoadImage, LoadAnnotations, LoadImageFromFile
from .mix import MixUp, Mosaic, YOLOv5MixUp
from .resize import LetterResize, RandomChoiceResize, RandomResize, Resize

__all__ = [
    'CachedLoadImage',
    'CachedMixUp',
    'CachedMosaic',
    'Expand',
    'HSVJitter',
    'KeyedTransform',
    'LetterResize',
    'LoadAnnotations',
    'LoadImageFromFile',
    'MinIoURandomCrop',
    'MixUp',
    'Mosaic',
    'PackDetInputs',
    'Pad',
    'PhotoMetricDistortion',
    'RandomAffine',
    'RandomApply',
    'RandomBrightnessContrast',
    'RandomCenterCropPad',
    'RandomChannelPermute',
    'RandomChoice',
    'RandomChoiceResize',
    'RandomFlip',
    'RandomInvert',
    'RandomResize',
    'Resize',
    'YOLOv5MixUp',
    'generator',
]
