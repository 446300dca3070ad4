"""Which predicted boxes meet a gt, found by the bounds of small groups of slots.

Predicted boxes lie anywhere, but those of neighbouring slots lie near each other. Slots are
taken in runs; a run whose common bounds miss a gt has no box that meets it. The runs that
are left are compared box by box, so the answer is that of comparing every box, whatever
the predictions are, and only the cost depends on how far they stray.

Shapes: B images, N slots, M gts, G gts of one block, T runs an image, S slots a run, P
(gt, run) pairs of one block, k best boxes a gt.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..ops.iou import OverlapMode, bbox_overlaps
from ..structures import GroundTruth
from .common import block_elements

RUN_LENGTH = 16


@dataclass(frozen=True, eq=False)
class OverlapBlock:
    """Some gts and the overlaps with the boxes that may meet them.

    Args:
        image: ``(G,)`` int64 of the gts, in the order image, gt.
        gt: ``(G,)`` int64 in [0, M).
        counts: ``(G,)`` int64, how many of the P runs are each gt's.
        first_slot: ``(P,)`` int64, the first slot of each run, in [0, N).
        overlaps: ``(P, S)``, 0 for slots that do not count.
    """

    image: Tensor
    gt: Tensor
    counts: Tensor
    first_slot: Tensor
    overlaps: Tensor

    def row(self) -> Tensor:
        """``(P,)`` int64 in [0, G), whose each run is."""
        index = torch.arange(self.counts.shape[0], device=self.counts.device)
        return index.repeat_interleave(self.counts, output_size=self.first_slot.shape[0])

    def buckets(self, values: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Gather ragged rows of ``values (P, S)`` into matrices, by powers of two.

        Gts without a run are in none. Waits for the device once, and once a bucket.

        Yields:
            ``(g,)`` the gts; ``(g, 2^p)`` index of their runs, P where there is none; and
            ``(g, 2^p * S)`` the values, 0 where there is none.
        """
        starts = self.counts.cumsum(0) - self.counts
        padded = torch.cat((values, values.new_zeros(1, values.shape[1])))
        power = torch.ceil(torch.log2(self.counts.clamp(min=1).double())).long()
        power = torch.where(self.counts > 0, power, -1)
        for p in torch.unique(power).tolist():  # sync: the bucket sizes
            if p < 0:
                continue
            rows = (power == p).nonzero().squeeze(1)
            offset = torch.arange(1 << p, device=values.device)
            runs = torch.where(
                offset < self.counts[rows, None], starts[rows, None] + offset, values.shape[0]
            )
            gathered = padded.index_select(0, runs.reshape(-1))
            yield rows, runs, gathered.view(rows.shape[0], -1)


def overlapping_blocks(
    boxes: Tensor, gt: GroundTruth, allowed: Tensor | None, mode: OverlapMode = 'iou'
) -> Iterator[OverlapBlock]:
    """Overlaps of every gt with the predicted boxes that may meet it.

    Waits for the device once, and once a block.

    Args:
        boxes: ``(B, N, 4)`` predicted boxes.
        gt: The gts; invalid ones come with no run.
        allowed: ``(B, N)`` bool, the slots that count; None for all.
        mode: Of :func:`bbox_overlaps`. Only overlaps above 0 are promised, and of
            modes whose value is at most the IoU.
    """
    b, n = boxes.shape[:2]
    if allowed is not None:
        # A box of no size at the origin overlaps nothing.
        boxes = torch.where(allowed[..., None], boxes, 0)
    runs = -(-n // RUN_LENGTH)
    # Padded, and each coordinate contiguous in memory, so that arithmetic runs on vectors.
    flat = boxes.new_zeros(4, b, runs * RUN_LENGTH)
    flat[:, :, :n] = boxes.permute(2, 0, 1)
    flat = flat.view(4, b * runs, RUN_LENGTH)
    meets = _runs_that_meet(flat.view(4, b, runs, RUN_LENGTH), gt)  # (B, M, T)
    counts = meets.sum(dim=-1).reshape(-1)
    for part in _blocks_of_gts(counts, block_elements(boxes.device)):
        row, run = meets.view(-1, runs)[part].nonzero(as_tuple=True)
        index = torch.arange(part.start, part.stop, device=boxes.device)
        image, m = index // gt.max_gts, index % gt.max_gts
        gt_boxes = gt.boxes.reshape(-1, 4)[part].index_select(0, row)
        run_boxes = flat.index_select(1, image.index_select(0, row) * runs + run)
        # (P, 1, 4) and (P, S, 4) -> (P, 1, S)
        overlaps = bbox_overlaps(gt_boxes[:, None], run_boxes.permute(1, 2, 0), mode=mode)
        yield OverlapBlock(image, m, counts[part], run * RUN_LENGTH, overlaps.squeeze(1))


def _runs_that_meet(boxes: Tensor, gt: GroundTruth) -> Tensor:
    """``(B, M, T)`` bool, whether a run's bounds ``(4, B, T, S)`` meet a valid gt."""
    low, high = boxes[:2], boxes[2:]
    # Boxes of no area meet nothing, and must not stretch the bounds to where they lie.
    solid = (high > low).all(dim=0)
    low = torch.where(solid, low, torch.inf).amin(dim=-1)[:, :, None]  # (2, B, 1, T)
    high = torch.where(solid, high, -torch.inf).amax(dim=-1)[:, :, None]
    corners = gt.boxes.permute(2, 0, 1)[..., None]  # (4, B, M, 1)
    meets = (low[0] < corners[2]) & (high[0] > corners[0])
    meets &= (low[1] < corners[3]) & (high[1] > corners[1])
    return meets & gt.valid[..., None]


def _blocks_of_gts(counts: Tensor, most_boxes: int) -> Iterator[slice]:
    """Slices of the ``B * M`` gts whose runs hold at most so many boxes, or single gts."""
    start, total = 0, 0
    for i, count in enumerate(counts.tolist()):  # sync: the runs of each gt
        size = count * RUN_LENGTH
        if total and total + size > most_boxes:
            yield slice(start, i)
            start, total = i, 0
        total += size
    if start < counts.shape[0]:
        yield slice(start, counts.shape[0])


def sum_of_top_overlaps(boxes: Tensor, gt: GroundTruth, allowed: Tensor, k: int) -> Tensor:
    """``(B, M)`` sum of each gt's k largest IoUs with the allowed predicted boxes.

    Args:
        boxes: ``(B, N, 4)`` predicted boxes.
        gt: The gts.
        allowed: ``(B, N)`` bool.
        k: How many to sum.
    """
    out = boxes.new_zeros(gt.valid.shape)
    for block in overlapping_blocks(boxes, gt, allowed):
        for rows, _, values in block.buckets(block.overlaps):
            top = values.topk(min(k, values.shape[1]), dim=1).values
            # Summed largest first, one after the other, as the reference implementations
            # do: the sum is rounded down to a whole number.
            out[block.image[rows], block.gt[rows]] = top.t().contiguous().sum(dim=0)
    return out
