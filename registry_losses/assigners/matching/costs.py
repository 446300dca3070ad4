"""Match costs: what one-to-one matching minimises.

Shapes: B images, n priors of a block, M gts, C classes.
"""

from abc import ABCMeta, abstractmethod
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from ...errors import ConfigError
from ...ops.iou import OverlapMode, bbox_overlaps
from ...registry import TASK_UTILS

Activation = Literal['softmax', 'sigmoid']


@dataclass(frozen=True, eq=False)
class MatchInputs:
    """What a cost compares.

    Args:
        boxes: ``(B, n, 4)`` predicted, xyxy pixels.
        scores: ``(B, n, C)`` probabilities.
        gt_boxes: ``(B, M, 4)`` xyxy pixels.
        gt_labels: ``(B, M)`` int64.
        image_sizes: ``(B, 2)`` height, width.
    """

    boxes: Tensor
    scores: Tensor
    gt_boxes: Tensor
    gt_labels: Tensor
    image_sizes: Tensor

    def scores_at_labels(self) -> Tensor:
        """``(B, n, M)`` predicted score of each gt's class."""
        index = self.gt_labels[:, None].expand(-1, self.scores.shape[1], -1)
        return self.scores.gather(2, index)


class MatchCost(metaclass=ABCMeta):
    """A weighted cost of every (prior, gt) pair.

    Args:
        weight: Factor of the cost.
    """

    #: What makes probabilities of the logits that OpenMMLab's form of the assigner hands
    #: over; None for costs that read no scores.
    activation: Activation | None = None

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight

    def __call__(self, inputs: MatchInputs) -> Tensor:
        """``(B, n, M)`` weighted cost."""
        return self.cost(inputs) * self.weight

    @abstractmethod
    def cost(self, inputs: MatchInputs) -> Tensor:
        """``(B, n, M)`` cost without the weight."""

    def __repr__(self) -> str:
        options = ', '.join(f'{key}={value!r}' for key, value in vars(self).items())
        return f'{type(self).__name__}({options})'


def focal_cost(scores: Tensor, alpha: float, gamma: float, eps: float) -> Tensor:
    """The focal loss of a score as a positive, minus its focal loss as a negative."""
    negative = -torch.log(1 - scores + eps) * (1 - alpha) * scores.pow(gamma)
    positive = -torch.log(scores + eps) * alpha * (1 - scores).pow(gamma)
    return positive - negative


@TASK_UTILS.register_module()
class ClassificationCost(MatchCost):
    """``-p``, the negated probability of the gt's class.

    Carion et al., End-to-End Object Detection with Transformers, ECCV 2020, section 3.1.

    Args:
        weight: Factor of the cost.
    """

    activation = 'softmax'

    def cost(self, inputs: MatchInputs) -> Tensor:
        """``(B, n, M)``."""
        return -inputs.scores_at_labels()


@TASK_UTILS.register_module()
class FocalLossCost(MatchCost):
    """What the focal loss of the gt's class changes when the prior becomes positive.

    Zhu et al., Deformable DETR, ICLR 2021; focal loss from Lin et al., ICCV
    2017, equation 5.

    Args:
        alpha: Weight of positives.
        gamma: Focusing exponent.
        eps: Keeps the logarithms finite.
        binary_input: OpenMMLab's option for masks; only False is supported.
        weight: Factor of the cost.
    """

    activation = 'sigmoid'

    def __init__(
        self,
        alpha: float = 0.25,
        gamma: float = 2.0,
        eps: float = 1e-12,
        binary_input: bool = False,
        weight: float = 1.0,
    ) -> None:
        super().__init__(weight)
        if binary_input:
            raise ConfigError(
                'FocalLossCost: binary_input=True compares masks, which have no cost here'
            )
        self.alpha = alpha
        self.gamma = gamma
        self.eps = eps

    def cost(self, inputs: MatchInputs) -> Tensor:
        """``(B, n, M)``."""
        return focal_cost(inputs.scores_at_labels(), self.alpha, self.gamma, self.eps)


@TASK_UTILS.register_module()
class BBoxL1Cost(MatchCost):
    """Sum of the absolute differences of the coordinates, in shares of the image.

    Carion et al., ECCV 2020, section 3.1.

    Args:
        box_format: ``'xyxy'`` compares corners, ``'xywh'`` centres and sizes.
        weight: Factor of the cost.
    """

    def __init__(self, box_format: Literal['xyxy', 'xywh'] = 'xyxy', weight: float = 1.0) -> None:
        super().__init__(weight)
        if box_format not in ('xyxy', 'xywh'):
            raise ConfigError(f"box_format: expected 'xyxy' or 'xywh', got {box_format!r}")
        self.box_format = box_format

    def cost(self, inputs: MatchInputs) -> Tensor:
        """``(B, n, M)``."""
        scale = inputs.image_sizes.flip(-1).repeat(1, 2)[:, None]  # (B, 1, 4)
        boxes, gts = self._form(inputs.boxes) / scale, self._form(inputs.gt_boxes) / scale
        # Coordinate by coordinate: (B, n, M, 4) is never held.
        total = boxes.new_zeros(*boxes.shape[:2], gts.shape[1])
        for i in range(4):
            total += (boxes[:, :, None, i] - gts[:, None, :, i]).abs()
        return total

    def _form(self, boxes: Tensor) -> Tensor:
        if self.box_format == 'xyxy':
            return boxes
        low, high = boxes[..., :2], boxes[..., 2:]
        return torch.cat(((low + high) / 2, high - low), dim=-1)


@TASK_UTILS.register_module()
class IoUCost(MatchCost):
    """``-IoU``, or another measure of the family, of predicted box and gt.

    Carion et al., ECCV 2020, section 3.1; Rezatofighi et al., Generalized Intersection
    over Union, CVPR 2019.

    Args:
        iou_mode: A mode of :func:`bbox_overlaps`.
        weight: Factor of the cost.
    """

    def __init__(self, iou_mode: OverlapMode = 'giou', weight: float = 1.0) -> None:
        super().__init__(weight)
        if iou_mode not in get_args(OverlapMode):
            known = ', '.join(get_args(OverlapMode))
            raise ConfigError(f'iou_mode: expected one of {known}; got {iou_mode!r}')
        self.iou_mode = iou_mode

    def cost(self, inputs: MatchInputs) -> Tensor:
        """``(B, n, M)``."""
        return -bbox_overlaps(inputs.boxes, inputs.gt_boxes, mode=self.iou_mode)
