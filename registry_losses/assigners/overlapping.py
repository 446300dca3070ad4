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
from functools import cached_property

import torch
from torch import Tensor

from ..ops.iou import OverlapMode, bbox_overlaps, iou_of_corners
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
        row: ``(P,)`` int64 in [0, G), ascending, whose each run is.
        first_slot: ``(P,)`` int64, the first slot of each run, in [0, N).
        overlaps: ``(P, S)``, 0 for slots that do not count.
    """

    image: Tensor
    gt: Tensor
    counts: Tensor
    row: Tensor
    first_slot: Tensor
    overlaps: Tensor

    @cached_property
    def peaks(self) -> Tensor:
        """``(P,)`` the largest overlap of each run."""
        return self.overlaps.amax(dim=1)

    def buckets(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """The runs of gts that have about equally many, as matrices, by powers of two.

        Gts without a run are in none. Waits for the device once, and once a bucket.

        Yields:
            ``(g,)`` the gts; ``(g, 2^p)`` index of their runs, P where there is none; and
            ``(g, 2^p)`` the peaks, 0 where there is none.
        """
        peaks = self.peaks
        starts = self.counts.cumsum(0) - self.counts
        padded = torch.cat((peaks, peaks.new_zeros(1)))
        power = torch.ceil(torch.log2(self.counts.clamp(min=1).double())).long()
        power = torch.where(self.counts > 0, power, -1)
        for p in torch.unique(power).tolist():  # sync: the bucket sizes
            if p < 0:
                continue
            rows = (power == p).nonzero().squeeze(1)
            offset = torch.arange(1 << p, device=peaks.device)
            runs = torch.where(
                offset < self.counts[rows, None], starts[rows, None] + offset, peaks.shape[0]
            )
            yield rows, runs, padded.index_select(0, runs.reshape(-1)).view(runs.shape)

    def best_runs(self, k: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Of each gt the k runs of the highest peaks; they hold its k largest overlaps.

        A run that is not among them has no overlap above its peak, and k others reach it.

        Yields:
            ``(g,)`` the gts; ``(g, j)`` with j <= k the index of the runs, P where there
            is none; and ``(g, j, S)`` their overlaps, 0 where there is none.
        """
        last = self.peaks.shape[0] - 1
        for rows, runs, peaks in self.buckets():
            peaks, best = peaks.topk(min(k, peaks.shape[1]), dim=1)
            runs = runs.gather(1, best)
            at = runs.clamp(max=last).reshape(-1)
            overlaps = self.overlaps.index_select(0, at).view(*runs.shape, RUN_LENGTH)
            # Where there is no run the peak is 0.
            yield rows, runs, overlaps.mul_((peaks > 0)[..., None])


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
    if allowed is not None:
        # A box of no size at the origin overlaps nothing.
        boxes = torch.where(allowed[..., None], boxes, 0)
    runs = _runs_of(boxes)  # (B, T, 5, S)
    num_runs = runs.shape[1]
    meets = _runs_that_meet(runs, gt)  # (B, M, T)
    counts = meets.sum(dim=-1).reshape(-1)
    flat = runs.view(-1, 5 * RUN_LENGTH)
    corners = gt.boxes.float().reshape(-1, 4).t().contiguous()  # (4, B * M)
    for part in _blocks_of_gts(counts, block_elements(boxes.device)):
        row, run = meets.view(-1, num_runs)[part].nonzero(as_tuple=True)
        index = torch.arange(part.start, part.stop, device=boxes.device)
        image = torch.div(index, gt.max_gts, rounding_mode='floor')
        at = image.index_select(0, row).mul_(num_runs).add_(run)
        overlaps = _overlaps_of_runs(
            corners[:, part].index_select(1, row),
            flat.index_select(0, at).view(-1, 5, RUN_LENGTH),
            mode,
        )
        yield OverlapBlock(
            image, index - image * gt.max_gts, counts[part], row, run * RUN_LENGTH, overlaps
        )


def _runs_of(boxes: Tensor) -> Tensor:
    """``(B, T, 5, S)``: x1, y1, x2, y2 and area of the slots of each run, padded with 0.

    Each coordinate of a run is contiguous in memory, so that arithmetic runs on vectors.
    """
    b, n = boxes.shape[:2]
    num_runs = -(-n // RUN_LENGTH)
    if n != num_runs * RUN_LENGTH:
        padded = boxes.new_zeros(b, num_runs * RUN_LENGTH, 4)
        padded[:, :n] = boxes
        boxes = padded
    runs = torch.empty(b, num_runs, 5, RUN_LENGTH, device=boxes.device)
    runs[:, :, :4] = boxes.view(b, num_runs, RUN_LENGTH, 4).transpose(2, 3)
    size = (runs[:, :, 2:4] - runs[:, :, :2]).clamp_(min=0)
    torch.mul(size[:, :, 0], size[:, :, 1], out=runs[:, :, 4])
    return runs


def _overlaps_of_runs(gts: Tensor, runs: Tensor, mode: OverlapMode) -> Tensor:
    """``(P, S)`` overlaps of gts ``(4, P)`` and runs ``(P, 5, S)``."""
    if mode != 'iou':
        boxes = runs[:, :4].transpose(1, 2)  # (P, S, 4)
        return bbox_overlaps(gts.t()[:, None], boxes, mode=mode).squeeze(1)
    x1, y1, x2, y2 = gts
    areas = ((x2 - x1).clamp_(min=0) * (y2 - y1).clamp_(min=0))[:, None]
    x1, y1, x2, y2, own = runs.unbind(1)
    return iou_of_corners(gts[..., None].unbind(0), areas, (x1, y1, x2, y2), own)


def _runs_that_meet(runs: Tensor, gt: GroundTruth) -> Tensor:
    """``(B, M, T)`` bool, whether the bounds of runs ``(B, T, 5, S)`` meet a valid gt."""
    # Boxes of no area meet nothing, and must not stretch the bounds to where they lie.
    solid = runs[:, :, 4:] > 0  # (B, T, 1, S)
    low = torch.where(solid, runs[:, :, :2], torch.inf).amin(dim=-1)  # (B, T, 2)
    high = torch.where(solid, runs[:, :, 2:4], -torch.inf).amax(dim=-1)
    low, high = low.permute(2, 0, 1)[:, :, None], high.permute(2, 0, 1)[:, :, None]
    low, high = low.contiguous(), high.contiguous()  # (2, B, 1, T)
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
        for rows, _, overlaps in block.best_runs(k):
            overlaps = overlaps.flatten(1)
            top = overlaps.topk(min(k, overlaps.shape[1]), dim=1).values
            # Summed largest first, one after the other, as the reference implementations
            # do: the sum is rounded down to a whole number.
            out[block.image[rows], block.gt[rows]] = top.t().contiguous().sum(dim=0)
    return out
