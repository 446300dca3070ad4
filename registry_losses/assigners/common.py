"""The rules that assigners share, each written once.

Shapes: B images, N slots, M gts, Mi ignore regions, K pairs, T candidates, S segments.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ConfigError
from ..ops.iou import bbox_overlaps
from ..structures import GroundTruth, Priors

# Elements of one block of a streamed (B, n, M) computation: about a megabyte of float32
# a temporary, which stays in a CPU's cache and well under 64 MB in all.
CHUNK_ELEMENTS = 1 << 18


_HOST_DEVICES = {'cpu'}


def counting_is_free(device: torch.device) -> bool:
    """Whether the host may read a tensor's values at will.

    True on the CPU. Elsewhere reading one waits for the device to catch up, so that rules
    there work with more than is needed rather than count what is.
    """
    return device.type in _HOST_DEVICES


def block_elements(device: torch.device) -> int:
    """Elements of the tensors worked on at a time.

    On the CPU few enough to stay in cache; elsewhere more, since every block has its
    launches, and often a wait.
    """
    return CHUNK_ELEMENTS if counting_is_free(device) else CHUNK_ELEMENTS * 16


# --- Options --------------------------------------------------------------------------


def check_iou_calculator(config: dict | None) -> None:
    """Refuse the IoU calculators of OpenMMLab that mean something else.

    Raises:
        ConfigError: Unless it is ``BboxOverlaps2D`` or None.
    """
    if config is not None and str(config.get('type')).split('.')[-1] != 'BboxOverlaps2D':
        raise ConfigError(f'iou_calculator: only BboxOverlaps2D is known, got {config}')


# --- Gts -----------------------------------------------------------------------------


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

    Where counting is free (the CPU) only the valid ones, so that one crowded image does
    not make the others pay for its padding; on other devices all ``B * M``, because
    counting would wait for the device.
    """
    b, m = gt.valid.shape
    if counting_is_free(gt.device):
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


# --- Geometry ------------------------------------------------------------------------


def inside_margin(points: Tensor, boxes: Tensor) -> Tensor:
    """Distance from a point to the nearest side of a box, negative outside.

    Args:
        points: ``(..., 2)`` xy.
        boxes: ``(..., 4)`` xyxy, broadcast against the points.

    Returns:
        ``(...)`` pixels.
    """
    x, y = points.unbind(-1)
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.minimum(torch.minimum(x - x1, y - y1), torch.minimum(x2 - x, y2 - y))


def centers_inside(points: Tensor, boxes: Tensor, *, margin: float = 0) -> Tensor:
    """Whether a point lies more than ``margin`` pixels inside a box; ``(...)`` bool."""
    return inside_margin(points, boxes) > margin


# --- Streaming -----------------------------------------------------------------------


def prior_chunks(priors: Priors, gt_count: int, batch_size: int) -> Iterator[slice]:
    """Slices of the slots such that a ``(B, n, M)`` block stays small."""
    step = max(block_elements(priors.device) // max(gt_count * batch_size, 1), 1)
    for start in range(0, priors.num_priors, step):
        yield slice(start, min(start + step, priors.num_priors))


def take_boxes(boxes: Tensor, index: Tensor) -> Tensor:
    """``(N, 4), (T,) -> (T, 4)``: ``boxes[index]``; points ``(N, 2)`` as well.

    A row of four float32 is moved as one number of 16 bytes, one of two as one of 8:
    ``index_select`` copies the rows of a matrix one by one, and takes three to four times
    as long.
    """
    columns = boxes.shape[1]
    wide_type = {2: torch.complex64, 4: torch.complex128}.get(columns)
    movable = boxes.dtype == torch.float32 and boxes.is_contiguous()
    if wide_type is None or not movable or boxes.storage_offset() % columns:
        return boxes.index_select(0, index)
    wide = boxes.detach().view(wide_type)[:, 0]
    return wide.index_select(0, index).view(torch.float32).view(-1, columns)


def corners_of(boxes: Tensor) -> Tensor:
    """``(N, 4) -> (5, N)``: x1, y1, x2, y2 and area, each contiguous."""
    corners = boxes.detach().float().t()
    size = (corners[2:] - corners[:2]).clamp_(min=0)
    return torch.cat((corners, (size[0] * size[1])[None]))


def corners_of_slots(priors: Priors) -> Tensor:
    """:func:`corners_of` slots that all images share."""
    return priors.once('corners', lambda own: corners_of(own.boxes))


def batched_boxes(priors: Priors, batch_size: int, part: slice = slice(None)) -> Tensor:
    """``(B, n, 4)`` boxes of some slots, one copy shared where images share them."""
    return priors.boxes[..., part, :].expand(batch_size, -1, 4)


# --- Ignore regions ------------------------------------------------------------------


def centers_in_ignore_box(priors: Priors, gt: GroundTruth) -> Tensor:
    """``(B, N)`` bool: slots whose centre lies inside an ignore box.

    On a grid the columns and the rows of each level are tested for themselves.
    """
    b, m = gt.ignore_valid.shape
    if not priors.levels or priors.per_image:
        out = torch.zeros(b, priors.num_priors, dtype=torch.bool, device=priors.device)
        for part in prior_chunks(priors, m, b):
            points = priors.centers[..., part, :].expand(b, -1, 2)[:, :, None]
            inside = centers_inside(points, gt.ignore_boxes[:, None]) & gt.ignore_valid[:, None]
            out[:, part] = inside.any(dim=-1)
        return out
    low_x, low_y, high_x, high_y = gt.ignore_boxes[:, None].unbind(-1)  # (B, 1, Mi)
    parts = []
    for level, first, size in zip(priors.levels, priors.level_starts, priors.level_sizes):
        shape = (level.height, level.width, level.num_base, 2)
        centers = priors.centers[first : first + size].view(shape)[:, :, 0]  # (H, W, 2)
        x, y = centers[0, :, 0, None], centers[:, 0, 1, None]
        columns = (x > low_x) & (x < high_x) & gt.ignore_valid[:, None]  # (B, W, Mi)
        rows = (y > low_y) & (y < high_y)  # (B, H, Mi)
        hits = torch.bmm(rows.float(), columns.float().transpose(1, 2)) > 0  # (B, H, W)
        parts.append(hits[..., None].expand(-1, -1, -1, level.num_base).reshape(b, -1))
    return torch.cat(parts, dim=1)


def boxes_in_ignore_box(
    priors: Priors, gt: GroundTruth, iof_thr: float, *, wrt_candidates: bool = True
) -> Tensor:
    """``(B, N)`` bool: slots whose box lies in an ignore box by more than a share.

    Args:
        priors: The slots.
        gt: Holds the regions.
        iof_thr: The intersection's least share, exclusive.
        wrt_candidates: Of the slot's box, or (False) of the region.
    """
    b, regions = gt.batch_size, gt.ignore_boxes
    out = torch.zeros(b, priors.num_priors, dtype=torch.bool, device=priors.device)
    for part in prior_chunks(priors, regions.shape[1], b):
        boxes = batched_boxes(priors, b, part)
        if wrt_candidates:
            iof = bbox_overlaps(boxes, regions, mode='iof')  # (B, n, Mi)
        else:
            iof = bbox_overlaps(regions, boxes, mode='iof').transpose(1, 2)
        out[:, part] = ((iof > iof_thr) & gt.ignore_valid[:, None]).any(dim=-1)
    return out


def in_ignore_mask(priors: Priors, mask: Tensor) -> Tensor:
    """Slots whose centre's pixel is set in ``mask (B, H, W)``; ``(B, N)`` bool.

    A centre outside the mask is not ignored.
    """
    b, height, width = mask.shape
    x, y = priors.centers.floor().long().unbind(-1)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    pixel = (y.clamp(0, height - 1) * width + x.clamp(0, width - 1)).expand(b, -1)
    return mask.reshape(b, -1).gather(1, pixel) & inside


# --- Nearest -------------------------------------------------------------------------


def nearest_priors(priors: Priors, rows: GtRows) -> tuple[Tensor, Tensor]:
    """For each gt the candidate whose centre is nearest to its own, streamed.

    Args:
        priors: Slots that are not ``valid`` do not count.
        rows: The gts.

    Returns:
        ``(G,)`` int64 slot, of equally near ones the first; ``(G,)`` bool, whether the
        image has a candidate at all.
    """
    image, center = rows.image, rows.centers
    best = center.new_full((rows.num_rows,), torch.inf)
    nearest = torch.zeros_like(image)
    for part in prior_chunks(priors, rows.num_rows, 1):
        points = priors.centers[..., part, :]
        points = points[image] if priors.per_image else points[None]
        distance = (points - center[:, None]).square().sum(dim=-1)  # (G, n)
        if priors.valid is not None:
            distance = torch.where(priors.valid[image, part], distance, torch.inf)
        value = distance.amin(dim=1)
        row = torch.arange(part.start, part.stop, device=image.device)
        first = torch.where(distance == value[:, None], row, priors.num_priors).amin(dim=1)
        nearest = torch.where(value < best, first, nearest)
        best = torch.minimum(best, value)
    return nearest, torch.isfinite(best)
