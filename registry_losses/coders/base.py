"""The protocol between boxes and the numbers that a head predicts.

Shapes: K pairs, N priors, B images. A *raw* vector is what the layers give, an *encoded*
one what the losses compare; :meth:`BaseBBoxCoder.activate` leads from the first to the
second, :meth:`~BaseBBoxCoder.decode` from the second to boxes.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from ..errors import ConfigError, ShapeError

MaxShape = Sequence[int] | Tensor | None
Stride = float | Sequence[float] | Tensor | None

INF = math.inf
MAX_EXPONENT = 20.0
"""Largest argument of an exponential where the paper bounds nothing: exp(20) times any
anchor stays far inside float32, areas included."""


class BaseBBoxCoder(ABC):
    """Encodes gts for the losses, decodes predictions to boxes.

    A coder declares its reachable set by :meth:`bounds`, the encoded vectors that decode
    gives back as they were. Inside it encode and decode are inverses. Where the output
    itself cannot leave the set (a sigmoid, an exponential), :meth:`encode` clamps into
    it: a target outside it could never be reached.

    Args:
        use_box_type: Accepted as in OpenMMLab; must be False, boxes are plain tensors.
    """

    reference: Literal['boxes', 'centers'] = 'boxes'
    """What encode and decode measure from: priors' boxes ``(..., 4)`` or centres ``(..., 2)``."""
    encode_size: int = 4
    """Length of an encoded vector."""

    def __init__(self, use_box_type: bool = False) -> None:
        if use_box_type:
            raise ConfigError('use_box_type: boxes are plain tensors here; leave the key out')
        self._constants: dict[tuple, Tensor] = {}

    def __getstate__(self) -> dict:
        """Copies and pickles leave the kept device tensors behind."""
        return {**self.__dict__, '_constants': {}}

    def activate(self, raw: Tensor) -> Tensor:
        """Raw outputs ``(..., 4)`` to encoded vectors; the identity unless overridden."""
        return raw

    def bounds(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Least and largest encoded vector that decode gives back exactly."""
        return (-INF,) * self.encode_size, (INF,) * self.encode_size

    @property
    def clamps(self) -> bool:
        """Whether the activated output is confined to :meth:`bounds`."""
        return True

    @abstractmethod
    def encode_exact(self, bboxes: Tensor, gt_bboxes: Tensor, stride: Stride = None) -> Tensor:
        """``(..., 4)`` encoded gts before clamping; finite for every finite box."""

    @abstractmethod
    def decode(
        self,
        bboxes: Tensor,
        pred_bboxes: Tensor,
        *,
        max_shape: MaxShape = None,
        stride: Stride = None,
    ) -> Tensor:
        """Encoded vectors to boxes.

        Args:
            bboxes: ``(N, 4)`` or ``(B, N, 4)`` xyxy boxes of the priors; centres
                ``(..., 2)`` where :attr:`reference` says so.
            pred_bboxes: ``(N, 4)`` or ``(B, N, 4)`` encoded vectors.
            max_shape: Clip to (height, width), or to one such pair an image.
            stride: Of the priors: a number, ``(N,)``, or (x, y) ``(..., N, 2)``.

        Returns:
            Boxes xyxy, of the broadcast shape.
        """

    def encode(self, bboxes: Tensor, gt_bboxes: Tensor, *, stride: Stride = None) -> Tensor:
        """Gts as the losses compare them.

        Args:
            bboxes: ``(K, 4)`` xyxy boxes, or ``(K, 2)`` centres, of the priors.
            gt_bboxes: ``(K, 4)`` xyxy.
            stride: Of the priors: a number, ``(K,)``, or (x, y) ``(K, 2)``.

        Returns:
            ``(K, 4)``.
        """
        return self.clamp_encoded(self.encode_exact(bboxes, gt_bboxes, stride))

    def clamp_encoded(self, encoded: Tensor) -> Tensor:
        """Into the reachable set, where the output is confined to it."""
        if not self.clamps:
            return encoded
        low, high = self.bounds()
        if all(value == -INF for value in low) and all(value == INF for value in high):
            return encoded
        return torch.minimum(
            torch.maximum(encoded, self.constant(low, encoded)), self.constant(high, encoded)
        )

    def reachable(self, bboxes: Tensor, gt_bboxes: Tensor, stride: Stride = None) -> Tensor:
        """``(K,)`` bool: the gt can be predicted exactly from this prior."""
        encoded = self.encode_exact(bboxes, gt_bboxes, stride)
        low, high = self.bounds()
        inside = (encoded >= self.constant(low, encoded)) & (
            encoded <= self.constant(high, encoded)
        )
        return inside.all(dim=-1)

    def constant(self, values: Sequence[float], like: Tensor) -> Tensor:
        """``values`` as a tensor on the device of ``like``, moved there once."""
        key = (tuple(values), like.device, like.dtype)
        if key not in self._constants:
            self._constants[key] = torch.tensor(values, dtype=like.dtype, device=like.device)
        return self._constants[key]


def full_precision(tensor: Tensor) -> Tensor:
    """Float32 in place of half precision."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def stride_pairs(stride: Stride, bboxes: Tensor, name: str) -> Tensor | float:
    """A stride that broadcasts against ``(..., 2)`` xy values of ``bboxes``.

    Args:
        stride: A number; ``(...)``, one per box; or ``(..., 2)``, x and y.
        bboxes: ``(..., 4)`` or ``(..., 2)``.
        name: Of the coder, for the message.

    Raises:
        ShapeError: If there is no stride, which ``name`` needs.
    """
    if stride is None:
        raise ShapeError(f'{name}: needs stride=, the strides of the priors')
    if isinstance(stride, (int, float)):
        return float(stride)
    tensor = torch.as_tensor(stride, dtype=bboxes.dtype, device=bboxes.device)
    if tensor.dim() == 0:
        return tensor
    one_a_box = tensor.shape == bboxes.shape[:-1] or tensor.dim() == 1
    return tensor.unsqueeze(-1) if one_a_box else tensor


def center_and_size(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """``(..., 2)`` centres and ``(..., 2)`` sizes, an inverted side counting as 0."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return (low + high) * 0.5, (high - low).clamp(min=0)
