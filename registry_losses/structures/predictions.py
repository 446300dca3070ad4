"""Predictions: what a head predicts now, for assigners and samplers that ask.

Shapes: B images, N priors, C classes.
"""

from dataclasses import dataclass

from torch import Tensor

from ..errors import ShapeError, check_shape


@dataclass(frozen=True, eq=False)
class Predictions:
    """Decoded boxes and scores of every prior, detached, float32.

    Args:
        boxes: ``(B, N, 4)`` xyxy pixels; the priors' boxes where a head has none.
        scores: ``(B, N, C)`` probabilities, times objectness or centreness where the
            head has them, background removed.
    """

    boxes: Tensor
    scores: Tensor

    def __post_init__(self) -> None:
        if self.boxes.dim() != 3 or self.boxes.shape[-1] != 4:
            shape = tuple(self.boxes.shape)
            raise ShapeError(f'predictions.boxes: expected (B, N, 4), got {shape}')
        check_shape('predictions.scores', self.scores, *self.boxes.shape[:2], 'C')
