"""Non-maximum suppression of a whole batch at once.

Shapes: n boxes, G groups, S boxes of the largest group, b boxes of a block.

Greedy suppression asks, box by box from the best score down, whether a kept box covers
it. Here the boxes of one rank range of all groups are decided together: those that an
earlier kept box suppresses go, then the rule "kept, unless a kept better one suppresses
it" is applied to the rest until nothing changes. The rule has one fixed point, since a
box depends on better ones alone, and that is the greedy result.
"""

from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from ..errors import MissingDependencyError, check_shape
from .box_pair import BoxPair

Backend = Literal['auto', 'torch', 'torchvision']

_BLOCK = 256  # ranks decided together: larger blocks compare more pairs for nothing
_BUDGET = 1 << 18  # pairs compared at once, which keeps the temporaries in the cache


@lru_cache(maxsize=1)
def _torchvision_nms():
    """The operator of torchvision, or None.

    A torchvision built against another torch raises RuntimeError when imported.
    """
    try:
        import torchvision

        torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
        return torchvision.ops.nms
    except (ImportError, RuntimeError, OSError, AttributeError, NotImplementedError):
        return None


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Greedy suppression within one group; see :func:`batched_nms`."""
    return batched_nms(boxes, scores, torch.zeros_like(scores, dtype=torch.long), iou_threshold)


def batched_nms(
    boxes: Tensor,
    scores: Tensor,
    idxs: Tensor,
    iou_threshold: float,
    *,
    class_agnostic: bool = False,
    max_per_img: int = -1,
    backend: Backend = 'auto',
) -> Tensor:
    """Greedy suppression within each group of boxes.

    A box goes when its IoU with a better kept box of its group exceeds the threshold
    (strictly). Equal scores: the lower index is the better box. Boxes without area
    neither suppress nor are suppressed. A group may be a class, or (image, class) to
    serve a batch in one call: coordinates are never shifted apart, so many groups cost
    no precision.

    Args:
        boxes: ``(n, 4)`` xyxy.
        scores: ``(n,)``.
        idxs: ``(n,)`` integers, the group of each box.
        iou_threshold: In [0, 1].
        class_agnostic: All boxes form one group.
        max_per_img: Return at most this many; negative returns all.
        backend: ``torch``: operations of torch alone, the same on every device.
            ``torchvision``: its operator, in float64. ``auto``: torchvision on CUDA
            where it is installed, else torch. The two can only differ on a pair whose
            IoU equals the threshold to float32 rounding.

    Returns:
        ``(k,)`` int64 indices of the kept boxes, best first.

    Raises:
        ShapeError: If the shapes do not belong together.
        MissingDependencyError: If ``backend='torchvision'`` is not installed.
    """
    check_shape('boxes', boxes, 'n', 4)
    check_shape('scores', scores, boxes.shape[0])
    check_shape('idxs', idxs, boxes.shape[0])
    groups = torch.zeros_like(idxs) if class_agnostic else idxs
    order = torch.argsort(scores, descending=True, stable=True)
    boxes, groups = boxes.detach()[order], groups[order]
    operator = _choose(backend, boxes.device)
    if operator is None:
        keep = order[_greedy(boxes.float(), groups, iou_threshold)]
    else:
        keep = order[_by_operator(operator, boxes, groups, iou_threshold)]
    return keep if max_per_img < 0 else keep[:max_per_img]


def _choose(backend: Backend, device: torch.device):
    """The operator to use, None for torch alone."""
    if backend not in ('auto', 'torch', 'torchvision'):
        raise ValueError(f'backend: expected auto, torch or torchvision; got {backend!r}')
    if backend == 'torch' or (backend == 'auto' and device.type != 'cuda'):
        return None
    operator = _torchvision_nms()
    if operator is None and backend == 'torchvision':
        raise MissingDependencyError('backend torchvision: install a torchvision that fits torch')
    return operator


def _by_operator(operator, boxes: Tensor, groups: Tensor, threshold: float) -> Tensor:
    """Indices kept of boxes in descending score, groups shifted apart in float64."""
    if not len(boxes):
        return groups.new_zeros(0, dtype=torch.long)
    boxes = boxes.double()
    _, number = torch.unique(groups, return_inverse=True)
    span = boxes.max() - boxes.min() + 1
    ranks = torch.arange(len(boxes), 0, -1, device=boxes.device, dtype=boxes.dtype)
    return torch.sort(operator(boxes + (number * span)[:, None], ranks, threshold)).values


def _greedy(boxes: Tensor, groups: Tensor, threshold: float) -> Tensor:
    """Which of the boxes, in descending score, are kept: ``(n,)`` bool.

    Groups of about one size are decided side by side, padded to the largest of them.
    Waits for the device: the group sizes, and the end of each search for a fixed point.
    """
    n, device = len(boxes), boxes.device
    keep = torch.ones(n, dtype=torch.bool, device=device)
    if n < 2:
        return keep
    groups, by_group = torch.sort(groups, stable=True)
    counts = torch.unique_consecutive(groups, return_counts=True)[1].cpu()
    starts = counts.cumsum(0) - counts
    size_class = torch.frexp(counts.float() - 0.5).exponent  # 2^(e-1) < count <= 2^e
    for exponent in size_class.unique().tolist():
        if exponent == 0:
            continue  # alone in its group
        members = (size_class == exponent).nonzero().squeeze(1)
        width = int(counts[members].max())
        per_chunk = max(1, _BUDGET // (width * min(width, _BLOCK)))
        for chunk in members.split(per_chunk):
            place = torch.arange(width)
            position = (starts[chunk][:, None] + place).clamp(max=n - 1).to(device)  # (G, S)
            real = (place < counts[chunk][:, None]).to(device)
            index = by_group[position]
            kept = _decide(boxes[index], real.clone(), threshold)
            # Padding points at boxes of other groups and must not write.
            keep[index[real]] = kept[real]
    return keep


def _decide(boxes: Tensor, alive: Tensor, threshold: float) -> Tensor:
    """Suppress within each row of ``(G, S, 4)`` boxes; ``alive (G, S)`` is changed."""
    for start in range(0, boxes.shape[1], _BLOCK):
        block = boxes[:, start : start + _BLOCK]
        here = alive[:, start : start + _BLOCK]
        if start:
            earlier, kept = boxes[:, :start], alive[:, :start]
            if len(boxes) == 1:
                earlier, kept = earlier[kept][None], kept[kept][None]
            here &= ~(_covers(earlier, block, threshold) & kept[..., None]).any(dim=1)
        covers = _covers(block, block, threshold).triu(diagonal=1)
        candidates = here.clone()
        while True:
            decided = candidates & ~(covers & here[..., None]).any(dim=1)
            if torch.equal(decided, here):
                break
            here.copy_(decided)
    return alive


def _covers(first: Tensor, second: Tensor, threshold: float) -> Tensor:
    """``(G, E, b)`` bool, the IoU of ``(G, E, 4)`` with ``(G, b, 4)`` exceeds it."""
    pair = BoxPair(first.unsqueeze(-2), second.unsqueeze(-3))
    return pair.overlap / pair.union.clamp(min=1e-30) > threshold
