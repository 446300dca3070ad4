"""Persons: what the decoders return.

Shapes: n persons of an image, V joints.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from mmengine.structures import InstanceData


@dataclass(frozen=True)
class Persons:
    """The persons of one image, the most certain first.

    Args:
        keypoints: ``(n, V, 2)`` float32 x, y; 0 for a joint that was not found.
        keypoint_scores: ``(n, V)`` float32, 0 for a joint that was not found.
        scores: ``(n,)`` float32.
    """

    keypoints: np.ndarray
    keypoint_scores: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def ordered(
        cls, keypoints: np.ndarray, keypoint_scores: np.ndarray, scores: np.ndarray, limit: int
    ) -> 'Persons':
        """The best ``limit``, best first; of equal scores the earlier one first."""
        order = np.argsort(-scores, kind='stable')[:limit]
        return cls(
            keypoints[order].astype(np.float32),
            keypoint_scores[order].astype(np.float32),
            scores[order].astype(np.float32),
        )

    def boxes(self) -> np.ndarray:
        """``(n, 4)`` float32 xyxy around the joints that were found."""
        found = self.keypoint_scores > 0
        low = np.where(found[..., None], self.keypoints, np.inf).min(axis=1, initial=np.inf)
        high = np.where(found[..., None], self.keypoints, -np.inf).max(axis=1, initial=-np.inf)
        boxes = np.concatenate([low, high], axis=1)
        return np.where(np.isfinite(boxes), boxes, 0).astype(np.float32).reshape(-1, 4)


def as_instances(persons: Persons, meta: Mapping, *, rescale: bool) -> InstanceData:
    """Persons in input pixels as instances, brought back to the original image."""
    keypoints = torch.from_numpy(persons.keypoints)
    boxes = torch.from_numpy(persons.boxes())
    if rescale:
        top, _, left, _ = meta.get('pad_param', (0, 0, 0, 0))
        factor = keypoints.new_tensor(meta.get('scale_factor', (1.0, 1.0)))
        offset = keypoints.new_tensor((left, top))
        keypoints = (keypoints - offset) / factor
        boxes = (boxes - offset.repeat(2)) / factor.repeat(2)
    instances = InstanceData()
    instances.bboxes, instances.scores = boxes, torch.from_numpy(persons.scores)
    instances.labels = torch.zeros(len(persons), dtype=torch.long)
    instances.keypoints = keypoints
    instances.keypoint_scores = torch.from_numpy(persons.keypoint_scores)
    return instances
