"""Which predicted boxes meet a gt, found by the bounds of short runs of priors.

Predicted boxes lie anywhere, but those of neighbouring priors lie near each other. The priors
are cut into runs of 16; where the box around a run's predictions misses a gt, none of them
meets it. The other runs are compared box by box, so the result is that of comparing every
box; only the cost depends on how far the predictions are from their priors.

Shapes: B images, N priors, M gts, G gts of one block, T runs per image, S priors per run, P
(gt, run) pairs of one block, k best boxes per gt.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ...ops.device import block_elements, host_sync_is_free
from ...ops.iou import OverlapMode, bbox_overlaps, iou_of_corners
from ...ops.segments import count_of, segment_high, segment_topk
from ...structures import GroundTruth

RUN_LENGTH = 16
# How many blocks of the usual size are worked on at once.
BLOCKS_AT_ONCE = 8
# Into how many groups the runs of a gt are dealt to find the best.
GROUPS = 64
# A coordinate beyond all others, whose square is still finite.
_FAR = 1e18


@dataclass(frozen=True, eq=False)
class OverlapBlock:
    """Some gts and the overlaps with the boxes that may meet them.

    Args:
        image: ``(G,)`` int64 of the gts, in the order image, gt.
        gt: ``(G,)`` int64 in [0, M).
        counts: ``(G,)`` int64, how many of the P runs belong to each gt.
        row: ``(P,)`` int64 in [0, G), ascending, the gt of each run.
        first_prior: ``(P,)`` int64, the first prior of each run, in [0, N).
        overlaps: ``(P, S)`` >= 0, 0 for priors that do not count.
        peaks: ``(P,)`` the largest overlap of each run.
    """

    image: Tensor
    gt: Tensor
    counts: Tensor
    row: Tensor
    first_prior: Tensor
    overlaps: Tensor
    peaks: Tensor

    def best_runs(self, k: int) -> tuple[Tensor, Tensor]:
        """For each gt, k runs with high peaks.

        The runs are dealt into groups, and the k highest of the groups' highest are
        returned: cheaper than to sort all runs, and nearly always as good.

        Args:
            k: Runs, at most :data:`GROUPS`.

        Returns:
            ``(G, k)`` index of the runs, highest peak first, and their peaks, 0 where
            there is no run that overlaps the gt.
        """
        return segment_high(self.peaks, self.row, self.counts.shape[0], k, groups=GROUPS)


def overlapping_blocks(
    boxes: Tensor, gt: GroundTruth, allowed: Tensor | None, mode: OverlapMode = 'iou'
) -> Iterator[OverlapBlock]:
    """Overlaps of every gt with the predicted boxes that may meet it.

    Waits for the device twice for each block of images.

    Args:
        boxes: ``(B, N, 4)`` predicted boxes.
        gt: The gts; invalid ones come with no run.
        allowed: ``(B, N)`` bool, the priors that count; None for all.
        mode: A mode of :func:`bbox_overlaps` whose value is at most the IoU.

    Yields:
        Blocks in which every overlap above 0 of their gts is found.
    """
    runs = _runs_of(boxes.detach(), allowed)  # (B, T, 5, S)
    num_runs, m = runs.shape[1], gt.max_gts
    corners = _corners_of(gt)  # (5, B, M)
    low, high = runs[:, :, :2].amin(dim=-1), runs[:, :, 2:4].amax(dim=-1)  # (B, T, 2)
    most = BLOCKS_AT_ONCE * block_elements(boxes.device)
    step = max(most // (4 * m * num_runs), 1)
    for first in range(0, gt.batch_size, step):
        images = slice(first, first + step)
        own = corners[:, images]
        meets = _runs_that_meet(low[images], high[images], own).view(-1)
        found = meets.nonzero().squeeze(1)  # sync: the runs of some images
        ends = torch.arange(0, meets.shape[0] + 1, num_runs, device=found.device)
        ends = torch.searchsorted(found, ends)
        counts = ends.diff()
        own = own.flatten(1)
        for gts, pairs in _blocks_of_gts(ends, most // RUN_LENGTH):
            row = torch.arange(gts.stop - gts.start, device=found.device)
            image = torch.div(row + gts.start, m, rounding_mode='floor')
            index = row + (gts.start - image * m)
            row = row.repeat_interleave(counts[gts], output_size=pairs.stop - pairs.start)
            run = found[pairs].sub_(gts.start * num_runs).sub_(row, alpha=num_runs)
            image += first
            at = image.mul(num_runs).index_select(0, row).add_(run)
            found_there = _overlaps_of_runs(own[:, gts], row, runs, at, mode)
            yield OverlapBlock(image, index, counts[gts], row, run.mul_(RUN_LENGTH), *found_there)


def _runs_of(boxes: Tensor, allowed: Tensor | None) -> Tensor:
    """``(B, T, 5, S)``: x1, y1, x2, y2 and area of the priors of each run.

    Each coordinate of a run is contiguous in memory, so that arithmetic runs on vectors.
    Priors that do not count, have no area or fill up the last run become boxes far away whose
    corners are swapped, which meet nothing and widen no bounds.
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
    absent = runs[:, :, 4] <= 0  # (B, T, S)
    if allowed is not None:
        absent.view(b, -1)[:, :n] |= ~allowed
    if not host_sync_is_free(boxes.device) or absent.any():
        away = (absent.float() * _FAR)[:, :, None]
        runs[:, :, :2] += away
        runs[:, :, 2:4] -= away
    return runs


def _corners_of(gt: GroundTruth) -> Tensor:
    """``(5, B, M)``: x1, y1, x2, y2 and area of the gts; corners swapped where not valid."""
    corners = gt.boxes.float().permute(2, 0, 1)
    nowhere = corners.new_tensor([_FAR, _FAR, -_FAR, -_FAR])[:, None, None]
    corners = torch.where(gt.valid, corners, nowhere)
    size = (corners[2:] - corners[:2]).clamp_(min=0)
    return torch.cat((corners, (size[0] * size[1])[None]))


def _overlaps_of_runs(
    gts: Tensor, row: Tensor, runs: Tensor, at: Tensor, mode: OverlapMode
) -> tuple[Tensor, Tensor]:
    """``(P, S)`` overlaps of gts ``row (P,)`` and runs ``at (P,)``, some at a time.

    Args:
        gts: ``(5, G)`` corners and areas.
        row: Into the G.
        runs: ``(B, T, 5, S)``.
        at: Into the ``B * T``.
        mode: Of :func:`bbox_overlaps`.

    Returns:
        The overlaps; and ``(P,)`` the largest of each run.
    """
    flat = runs.view(-1, 5 * RUN_LENGTH)
    out, peaks = runs.new_empty(row.shape[0], RUN_LENGTH), runs.new_empty(row.shape[0])
    step = max(block_elements(runs.device) // (2 * RUN_LENGTH), 1)
    for start in range(0, row.shape[0], step):
        part = slice(start, start + step)
        *corners, areas = gts.index_select(1, row[part])[..., None].unbind(0)
        theirs = flat.index_select(0, at[part]).view(-1, 5, RUN_LENGTH)
        overlaps = out[part]
        if mode == 'iou':
            *others, others_areas = theirs.unbind(1)
            iou_of_corners(corners, areas, others, others_areas, out=overlaps)
        else:
            first, second = torch.stack(corners, dim=-1), theirs[:, :4].transpose(1, 2)
            overlaps.copy_(bbox_overlaps(first, second, mode=mode).squeeze(1)).clamp_(min=0)
        torch.amax(overlaps, dim=1, out=peaks[part])
    return out, peaks


def _runs_that_meet(low: Tensor, high: Tensor, gts: Tensor) -> Tensor:
    """``(B, M, T)`` float32, over 0 where the bounds ``(B, T, 2)`` of a run meet a gt.

    Arithmetic, because comparisons take several times as long on a CPU.
    """
    low, high = (bound.permute(2, 0, 1)[:, :, None].contiguous() for bound in (low, high))
    x1, y1, x2, y2, _ = gts[..., None]  # (B, M, 1)
    meets = (x2 - low[0]).clamp_(min=0)
    for more in (high[0] - x1, y2 - low[1], high[1] - y1):
        meets = torch.minimum(meets, more, out=meets)
    return meets.clamp_(min=0)


def _blocks_of_gts(ends: Tensor, most: int) -> Iterator[tuple[slice, slice]]:
    """Slices of gts that have at most so many runs, or of single gts; and of their runs.

    Args:
        ends: ``(G + 1,)`` ascending, where among all runs those of each gt begin.
        most: Runs.
    """
    bounds = ends.tolist()  # sync: the runs of each gt
    start, last = 0, len(bounds) - 1
    while start < last:
        stop = max(bisect_right(bounds, bounds[start] + most) - 1, start + 1)
        yield slice(start, stop), slice(bounds[start], bounds[stop])
        start = stop


def sum_of_top_overlaps(boxes: Tensor, gt: GroundTruth, allowed: Tensor | None, k: int) -> Tensor:
    """``(B, M)`` sum of each gt's k largest IoUs with the allowed predicted boxes.

    Args:
        boxes: ``(B, N, 4)`` predicted boxes.
        gt: The gts.
        allowed: ``(B, N)`` bool; None for all.
        k: How many to sum.
    """
    values, counts = [], []
    for block in overlapping_blocks(boxes, gt, allowed):
        # A gt's k best overlaps are no less than what k runs reach, each in a prior.
        least = block.best_runs(k)[1][:, -1]
        some = (block.peaks > 0) & (block.peaks >= least.index_select(0, block.row))
        run = some.nonzero().squeeze(1)
        row = block.row.index_select(0, run)
        overlaps = block.overlaps.index_select(0, run)
        some = (overlaps > 0) & (overlaps >= least.index_select(0, row)[:, None])
        at = some.reshape(-1).nonzero().squeeze(1)
        row = row.index_select(0, torch.div(at, RUN_LENGTH, rounding_mode='floor'))
        values.append(overlaps.reshape(-1).index_select(0, at))
        counts.append(count_of(row, block.counts.shape[0]))
    if not values:
        return boxes.new_zeros(gt.valid.shape)
    value = torch.cat(values)
    index, exists = segment_topk(value, torch.cat(counts), k)
    padded = torch.cat((value, value.new_zeros(1)))
    top = padded.index_select(0, torch.where(exists, index, value.shape[0]).t().reshape(-1))
    # Summed largest first, one after the other, as the reference implementations do: the
    # sum is rounded down to a whole number.
    return top.view(k, -1).sum(dim=0).view(gt.valid.shape)
