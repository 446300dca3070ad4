"""Part affinity fields: on each limb's rectangle its direction, averaged where limbs overlap.

Cao et al., Realtime Multi-Person 2D Pose Estimation using Part Affinity Fields, CVPR 2017,
section 2.3, equations 8 and 9. The rule in plain loops: ``testing/reference/pose.py``.

Shapes: B images, P persons, V joints, L limbs, H x W cells, R rows of cells.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from .joints import JointTable


def limb_fields(
    joints: JointTable,
    limbs: Sequence[tuple[int, int]],
    size: tuple[int, int],
    *,
    stride: tuple[float, float] = (1.0, 1.0),
    offset: float = 0.5,
    half_width: float = 1.0,
    overhang: float = 0.0,
) -> Tensor:
    """The fields of a batch.

    A cell lies on a limb from a to b where, in cells, its centre's projection on the
    line falls between the two (or at most ``overhang`` beyond) and its distance from the
    line is at most ``half_width``.
    There the field is the unit vector from a to b; where several limbs of one kind lie
    on a cell, the mean over all of them (equation 9 counts only vectors that are not
    zero, which these never are). A limb without length has no direction and no cells,
    and one with an end that is not labelled does not exist.

    Args:
        joints: In pixels.
        limbs: L pairs of joints.
        size: (H, W).
        stride: Pixels a cell, (x, y).
        offset: Where in its cell the centre lies, in cells.
        half_width: Of a limb, in cells.
        overhang: How far its rectangle goes beyond its ends, in cells. 0 is the paper's
            definition, by which a limb shorter than a cell may cover none; the published
            code goes as far as the limb is wide.

    Returns:
        ``(B, 2 L, H, W)`` float32: x and y of limb 0, of limb 1 ...
    """
    height, width = size
    b, p = joints.points.shape[:2]
    num_limbs = len(limbs)
    device = joints.points.device
    plane = height * width
    total = torch.zeros(b, 2 * num_limbs, height, width, dtype=torch.float32, device=device)
    if not p or not num_limbs:
        return total
    start, end = (torch.tensor(ends, device=device) for ends in zip(*limbs))
    cells = joints.points.float() / joints.points.new_tensor(stride) - offset
    a, v = cells[:, :, start], cells[:, :, end] - cells[:, :, start]  # (B, P, L, 2)
    length = v.norm(dim=-1)
    exists = joints.labelled[:, :, start] & joints.labelled[:, :, end] & (length > _LEAST_LENGTH)
    image, _, limb = torch.nonzero(exists, as_tuple=True)  # sync: which limbs there are
    a, length = a[exists], length[exists]
    unit = v[exists] / length[:, None]
    # The rows of cells that each limb's rectangle meets, then the cells of each row.
    reach = half_width * unit.abs().flip(-1) + overhang * unit.abs()
    low = torch.minimum(a, a + unit * length[:, None]) - reach
    high = torch.maximum(a, a + unit * length[:, None]) + reach
    first, count = _span(low[:, 1], high[:, 1], height)
    index, y = _expand(first, count)
    left, right = _columns(a[index], unit[index], length[index], y, half_width, overhang)
    left = torch.maximum(left, low[index, 0])
    right = torch.minimum(right, high[index, 0])
    first, count = _span(left, right, width)
    row, x = _expand(first, count)
    index, y = index[row], y[row]
    # The definition itself; the rows above are only a little wider than it.
    dx, dy = x - a[index, 0], y - a[index, 1]
    ux, uy = unit[index].unbind(-1)
    along, across = dx * ux + dy * uy, (dx * uy - dy * ux).abs()
    on_limb = (along >= -overhang) & (along <= length[index] + overhang)
    on_limb &= across <= half_width
    index, x, y = index[on_limb], x[on_limb], y[on_limb]  # sync: which cells are covered
    owner = image[index] * num_limbs + limb[index]
    cell = y * width + x
    place = 2 * owner * plane + cell  # of x; y lies a plane behind
    flat = total.view(-1)
    # How many limbs cover each cell, counted where the field will stand: another map of this
    # size would cost more than all the rest.
    flat.index_add_(0, place, torch.ones_like(place, dtype=torch.float32))
    share = unit[index].float() / flat[place][:, None]
    flat[place] = 0
    flat.index_add_(0, place, share[:, 0])
    flat.index_add_(0, place + plane, share[:, 1])
    return total


# Joints nearer than this many cells have no direction between them.
_LEAST_LENGTH = 1e-4
# Windows are wider than the rectangle by this much, so that rounding loses no cell.
_SLACK = 1e-3


def _span(low: Tensor, high: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """First whole number and how many of them lie in [low, high] and on the map."""
    first = torch.ceil(low - _SLACK).clamp(0, cells)
    last = torch.floor(high + _SLACK).clamp(-1, cells - 1)
    return first.long(), (last - first + 1).clamp(min=0).long()


def _expand(first: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Every number of every span: whose it is, and which. Waits for the device: how many."""
    index = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
    place = torch.arange(index.shape[0], device=count.device)
    start = count.cumsum(0) - count
    return index, place - start[index] + first[index]


def _columns(
    a: Tensor, unit: Tensor, length: Tensor, y: Tensor, half_width: float, overhang: float
) -> tuple[Tensor, Tensor]:
    """Between which x a row of cells lies on a limb's rectangle (infinite where any)."""
    dy = y - a[:, 1]
    ux, uy = unit.unbind(-1)
    infinite = torch.full_like(dy, torch.inf)
    # |dx uy - dy ux| <= half_width, and -overhang <= dx ux + dy uy <= length + overhang.
    steep, flat = uy.abs() > 1e-6, ux.abs() > 1e-6
    safe = torch.where(steep, uy, 1)
    edges = torch.stack(((dy * ux - half_width) / safe, (dy * ux + half_width) / safe))
    left = torch.where(steep, edges.amin(0), -infinite)
    right = torch.where(steep, edges.amax(0), infinite)
    safe = torch.where(flat, ux, 1)
    ends = torch.stack(((-overhang - dy * uy) / safe, (length + overhang - dy * uy) / safe))
    left = torch.maximum(left, torch.where(flat, ends.amin(0), -infinite))
    right = torch.minimum(right, torch.where(flat, ends.amax(0), infinite))
    return left + a[:, 0], right + a[:, 0]


def flip_fields(fields: Tensor, flipped_limbs: Sequence[tuple[int, int]]) -> Tensor:
    """The fields of the mirrored image: mirrored maps, left and right limbs exchanged.

    A mirror turns the x of every vector round; a limb whose mirror image is listed from
    its other end turns round altogether.

    Args:
        fields: ``(B, 2 L, H, W)``.
        flipped_limbs: :meth:`Skeleton.flipped_limbs`.
    """
    b, _, h, w = fields.shape
    order = torch.tensor([limb for limb, _ in flipped_limbs], device=fields.device)
    sense = fields.new_tensor([sign for _, sign in flipped_limbs])
    sign = sense[:, None] * fields.new_tensor([-1.0, 1.0])  # (L, 2)
    maps = fields.reshape(b, -1, 2, h, w)[:, order].flip(-1)
    return (maps * sign[:, :, None, None]).reshape(fields.shape)
