"""The gts of a batch in one list, image by image.

Shapes: B images, M gts, G gts of the batch in one list.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ...ops.boxes import take_boxes
from ...ops.device import host_sync_is_free
from ...structures import GroundTruth


@dataclass(frozen=True, eq=False)
class GtRows:
    """The batch's gts in one list, image by image.

    Args:
        image: ``(G,)`` int64.
        index: ``(G,)`` int64 in [0, M).
        boxes: ``(G, 4)``; zeros where ``valid`` is False.
        valid: ``(G,)`` bool.
        centers: ``(G, 2)`` the gt's position (``gt.points``); the box centre by default.
    """

    image: Tensor
    index: Tensor
    boxes: Tensor
    valid: Tensor
    centers: Tensor = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.centers is None:
            centers = (self.boxes[:, :2] + self.boxes[:, 2:]) / 2
            object.__setattr__(self, 'centers', centers)

    @property
    def num_rows(self) -> int:
        """G."""
        return self.image.shape[0]

    def part(self, rows: slice | Tensor) -> 'GtRows':
        """Some of the rows: a slice or an index."""
        fields = (self.image, self.index, self.boxes, self.valid, self.centers)
        return GtRows(*(values[rows] for values in fields))


def gt_rows(gt: GroundTruth) -> GtRows:
    """List the batch's gts.

    Where a host sync is free (on the CPU), only the valid ones, so that padding costs
    nothing; on other devices all ``B * M``, because counting would wait for the device.
    """
    b, m = gt.valid.shape
    if host_sync_is_free(gt.device):
        image, index = gt.valid.nonzero(as_tuple=True)
        row = image * m + index
        boxes = take_boxes(gt.boxes.reshape(-1, 4), row)
        centers = gt.points.reshape(-1, 2).index_select(0, row)
        return GtRows(image, index, boxes, torch.ones_like(image, dtype=torch.bool), centers)
    image = torch.arange(b, device=gt.device).repeat_interleave(m, output_size=b * m)
    index = torch.arange(m, device=gt.device).repeat(b)
    valid = gt.valid.reshape(-1)
    boxes = torch.where(valid[:, None], gt.boxes.reshape(-1, 4), 0)
    centers = torch.where(valid[:, None], gt.points.reshape(-1, 2), 0)
    return GtRows(image, index, boxes, valid, centers)
