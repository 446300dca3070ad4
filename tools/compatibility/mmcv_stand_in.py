"""``mmcv._ext``, mmcv's compiled operators, in plain torch: those that heads of detectors call."""

import sys
import types
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from registry_losses import ops


def stand_in() -> None:
    """Let ``import mmcv.ops`` find the operators here, unless mmcv has its own."""
    sys.modules.setdefault('mmcv._ext', StandIn('mmcv._ext'))


class StandIn(types.ModuleType):
    """``mmcv._ext`` with NMS and RoIAlign in plain torch; other operators say that they lack."""

    def __getattr__(self, name: str) -> Callable:
        if name.startswith('__'):
            raise AttributeError(name)

        def missing(*args: Any, **kwargs: Any) -> None:
            raise RuntimeError(f'mmcv._ext.{name}: not part of this stand-in')

        return missing

    @staticmethod
    def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int = 0) -> Tensor:
        """Indices kept, best first."""
        return ops.nms(boxes, scores, iou_threshold)

    @staticmethod
    def roi_align_forward(
        features: Tensor, rois: Tensor, output: Tensor, *_: Tensor, **o: Any
    ) -> None:
        """Writes ``output``."""
        output.copy_(_roi_align(features, rois, o))

    @staticmethod
    def roi_align_backward(
        grad: Tensor, rois: Tensor, _y: Tensor, _x: Tensor, out: Tensor, **o: Any
    ) -> None:
        """Writes the gradient of the features to ``out``."""
        with torch.enable_grad():
            features = torch.zeros_like(out, requires_grad=True)
            pooled = _roi_align(features, rois, o)
            out.copy_(torch.autograd.grad(pooled, features, grad)[0])


def _roi_align(features: Tensor, rois: Tensor, options: Mapping[str, Any]) -> Tensor:
    return ops.roi_align(
        features,
        rois,
        (options['aligned_height'], options['aligned_width']),
        options['spatial_scale'],
        options['sampling_ratio'],
        aligned=options['aligned'],
        backend='torch',
    )
