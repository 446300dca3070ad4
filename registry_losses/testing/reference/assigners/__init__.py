"""Each assigner's rule for one image, in plain loops over its gts and priors.

A function takes an :class:`Image`, which holds plain arrays, and the options of the assigner
of the same name, and returns an :class:`Answer`. Read the function to know the rule; read the
class to know how to use it, and how it is made fast.

    >>> from registry_losses.priors import MlvlPointGenerator
    >>> from registry_losses.structures import GroundTruth
    >>> import torch
    >>> priors = MlvlPointGenerator([8])([(2, 2)])
    >>> boxes, labels = [torch.tensor([[0., 0., 8., 8.]])], [torch.tensor([0])]
    >>> gt = GroundTruth.from_lists(boxes, labels, [(16, 16)])
    >>> [image] = images_of(priors, gt)
    >>> fcos(image).pairs
    [(0, 0)]
"""

from .approx_max_iou import approx_max_iou
from .atss import atss, batch_atss
from .batch_dynamic_soft_label import batch_dynamic_soft_label
from .center_region import center_region
from .centernet import centernet
from .dynamic_soft_label import dynamic_soft_label
from .fcos import fcos
from .gaussian import gaussian
from .grid_assigner import grid_assigner
from .hungarian import hungarian
from .image import Answer, Image, images_of
from .max_iou import max_iou
from .ota import ota
from .paa import paa
from .point import point
from .region import region
from .simota import simota
from .ssd import ssd
from .task_aligned import task_aligned
from .topk_hungarian import topk_hungarian
from .uniform import uniform
from .yolov1 import yolov1
from .yolov3 import yolov3
from .yolov5 import yolov5

__all__ = [
    'Answer',
    'Image',
    'approx_max_iou',
    'atss',
    'batch_atss',
    'batch_dynamic_soft_label',
    'center_region',
    'centernet',
    'dynamic_soft_label',
    'fcos',
    'gaussian',
    'grid_assigner',
    'hungarian',
    'images_of',
    'max_iou',
    'ota',
    'paa',
    'point',
    'region',
    'simota',
    'ssd',
    'task_aligned',
    'topk_hungarian',
    'uniform',
    'yolov1',
    'yolov3',
    'yolov5',
]
