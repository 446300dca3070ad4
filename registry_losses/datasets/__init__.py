"""Data sets, samplers and the data preprocessor."""

from .base import DetDataset
from .coco import CocoDataset, CocoPoseDataset
from .digits import DigitsDataset
from .digits_render import DigitsSpec
from .digits_store import prepare_digits
from .keys import SampleKey, keyed_rng
from .metainfo import COCO_CLASSES, COCO_PERSON, VOC_CLASSES, make_palette
from .preprocessor import BatchRandomResize, DetDataPreprocessor
from .puppets import PuppetsDataset
from .puppets_render import PuppetsSpec
from .puppets_store import prepare_puppets
from .samplers import AspectRatioBatchSampler, KeyedSampler
from .voc import VOCDataset

__all__ = [
    'COCO_CLASSES',
    'COCO_PERSON',
    'VOC_CLASSES',
    'AspectRatioBatchSampler',
    'BatchRandomResize',
    'CocoDataset',
    'CocoPoseDataset',
    'DetDataPreprocessor',
    'DetDataset',
    'DigitsDataset',
    'DigitsSpec',
    'KeyedSampler',
    'PuppetsDataset',
    'PuppetsSpec',
    'SampleKey',
    'VOCDataset',
    'keyed_rng',
    'make_palette',
    'prepare_digits',
    'prepare_puppets',
]
