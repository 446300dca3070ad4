"""A single-stage detector as a function of tensors alone: no samples, no lists of instances.

Shapes: B images of height H and width W, N priors, C classes, k candidates.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..datasets import DetDataPreprocessor
from ..detectors import SingleStageDetector
from ..errors import ConfigError
from ..heads import DenseHead

OUTPUTS = ('boxes', 'scores', 'labels')


def require_exportable(model: nn.Module) -> SingleStageDetector:
    """The model, if it is one that can be exported.

    Raises:
        ConfigError: If it has no dense head: two stages, or a head of joints.
    """
    if isinstance(model, SingleStageDetector) and isinstance(model.bbox_head, DenseHead):
        return model
    raise ConfigError(
        f'{type(model).__name__}: only single-stage detectors can be exported '
        '(SingleStageDetector with a dense head); the number of boxes that a second stage or a '
        'grouping of joints handles depends on the image'
    )


class InferenceGraph(nn.Module):
    """Pixels to boxes, for images of one size.

    Input: ``(B, 3, H, W)`` float32 in [0, 255], channels in the order that the test pipeline
    loads (BGR); normalising is part of the graph.

    Output of a ``dense`` graph: ``boxes (B, N, 4)`` xyxy pixels and ``scores (B, N, C)`` of
    every prior, nothing chosen. Otherwise what suppression chooses from: ``boxes (B, k, 4)``,
    ``scores (B, k)`` (negative: an empty place) and ``labels (B, k)``.

    Args:
        model: A detector that :func:`require_exportable` lets pass.
        image_size: (W, H).
        dense: See above.
    """

    model: SingleStageDetector
    limits: Tensor

    def __init__(
        self, model: nn.Module, image_size: tuple[int, int], *, dense: bool = False
    ) -> None:
        super().__init__()
        self.model = require_exportable(model)
        self.dense = dense
        width, height = image_size
        parameter = next(model.parameters())
        self.register_buffer('limits', parameter.new_tensor([[height, width]]).float(), False)
        # Made once, so that they are constants of the graph.
        with torch.no_grad():
            maps = self._maps(parameter.new_zeros(1, 3, height, width))
            self.priors = self.model.bbox_head.reader.priors(maps)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        head: Any = self.model.bbox_head
        output = head.reader.flatten(self._maps(images))
        if self.dense:
            return head.every_box(output, self.priors)
        shapes = self.limits.expand(images.shape[0], 2)
        cfg = head.test_cfg
        boxes, scores, labels = head.candidates(output, self.priors, shapes, cfg)
        least = cfg.get('min_bbox_size', -1)
        if least >= 0:
            large = ((boxes[..., 2:] - boxes[..., :2]) > least).all(dim=-1)
            scores = torch.where(large, scores, -1.0)
        return boxes, scores, labels

    def _maps(self, images: Tensor) -> tuple:
        preprocess = self.model.data_preprocessor
        if isinstance(preprocess, DetDataPreprocessor):
            images = preprocess.normalise(images)
        head: Any = self.model.bbox_head
        return head(self.model.extract_feat(images))
