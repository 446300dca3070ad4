"""What assigners make of an image: positive, soft and ignored priors, level by level.

A page is a table of panels: a column an assigner, in the first row all levels together,
below a row a level. Every prior is a tile of its cell (several priors a cell divide it), in
the colour of its gt where it is positive, bright by quality; orange where it is soft;
hatched where it is ignored.

Images are RGB uint8 ``(H, W, 3)``. Shapes: N priors, K pairs, E soft entries.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ..errors import DataError
from ..structures import Assignment, GroundTruth, Level, Priors
from .assignment_frames import (
    GAP,
    HEADER,
    IGNORED,
    SOFT,
    framed,
    gt_colours,
    legend,
    paragraph,
    row_names,
    strip,
)
from .draw import Colour
from .image_assignment import ImageAssignment, PriorSet

# Tiles smaller than this many pixels get a mark of that size.
_LEAST_TILE = 4


def draw_assignments(
    image: np.ndarray,
    priors: Priors,
    gt: GroundTruth,
    assignments: Mapping[str, Assignment | str],
    *,
    index: int = 0,
    panel: int = 256,
    title: str = '',
) -> np.ndarray:
    """One page for one image.

    Args:
        image: The image as the assigners know it, padding included or not.
        priors: The priors of the batch.
        gt: The ground truth of the batch.
        assignments: Name to assignment of the batch, or to the reason why there is none.
        index: Which image of the batch.
        panel: Longer side of a panel in pixels.
        title: Written on top.

    Returns:
        The page.

    Raises:
        DataError: If there is nothing to draw.
    """
    if not assignments:
        raise DataError('draw_assignments: expected at least one assignment, got none')
    scale = panel / max(image.shape[:2])
    size = (max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    dimmed = _dimmed(cv2.resize(np.ascontiguousarray(image), size, interpolation=method))
    prior_set = PriorSet.of(priors, index)
    valid = gt.valid[index].cpu().numpy()
    boxes = gt.boxes[index].cpu().numpy().astype(np.float64)
    colours = gt_colours(len(boxes))
    own = {
        name: found if isinstance(found, str) else ImageAssignment.of(found, index)
        for name, found in assignments.items()
    }
    levels = [
        i for i in range(len(prior_set.sizes)) if any(_busy(o, prior_set, i) for o in own.values())
    ]
    scene = _Scene(dimmed, scale, prior_set, boxes, valid, colours)
    columns = [_column(name, found, scene, levels) for name, found in own.items()]
    body = np.hstack(
        [row_names(prior_set.levels, prior_set.sizes, levels, dimmed.shape[0]), *columns]
    )
    parts = [strip(title, body.shape[1], 26)] if title else []
    return np.vstack([*parts, body, legend(body.shape[1], _quiet(prior_set, levels))])


@dataclass(frozen=True, eq=False)
class _Scene:
    """What all panels of a page share."""

    dimmed: np.ndarray
    scale: float
    prior_set: PriorSet
    boxes: np.ndarray
    valid: np.ndarray
    colours: Sequence[Colour]

    def with_gts(self) -> np.ndarray:
        """A fresh panel with the gts' outlines."""
        drawn = self.dimmed.copy()
        for box, real, colour in zip(self.boxes, self.valid, self.colours):
            if real:
                scaled = np.clip(np.round(box * self.scale), -(2**14), 2**14).astype(int)
                x1, y1, x2, y2 = scaled.tolist()
                corners = (x1, y1), (max(x2 - 1, x1), max(y2 - 1, y1))
                cv2.rectangle(drawn, *corners, (0, 0, 0), 2)
                cv2.rectangle(drawn, *corners, colour, 1)
        return drawn


def _busy(own: ImageAssignment | str, prior_set: PriorSet, level: int) -> bool:
    """Whether a level has a positive, a soft or an ignored prior."""
    if isinstance(own, str):
        return False
    first, end = prior_set.starts[level], prior_set.starts[level] + prior_set.sizes[level]
    taken = np.concatenate((own.prior, own.soft_prior))
    return bool(((taken >= first) & (taken < end)).any() or own.ignored[first:end].any())


def _quiet(prior_set: PriorSet, levels: Sequence[int]) -> str:
    """The levels that a page leaves out."""
    rest = [f'{grid.stride[0]:g}' for i, grid in enumerate(prior_set.levels) if i not in levels]
    return f'stride {", ".join(rest)}: nothing' if rest else ''


def _column(
    name: str, own: ImageAssignment | str, scene: _Scene, levels: Sequence[int]
) -> np.ndarray:
    width = scene.dimmed.shape[1] + 2 * GAP
    header = strip(name, width, HEADER, centred=True)
    if isinstance(own, str):
        height = (1 + len(levels)) * (scene.dimmed.shape[0] + HEADER + GAP)
        return np.vstack([header, paragraph(own, width, height)])
    without = int(scene.valid.sum()) - len(np.unique(own.gt))
    caption = f'{len(own.prior)} positive' + (f', {without} gts without' if without else '')
    panels = [framed(_overview(scene, own), caption)]
    panels += [framed(*_level_panel(scene, level, own)) for level in levels]
    return np.vstack([header, *panels])


def _overview(scene: _Scene, own: ImageAssignment) -> np.ndarray:
    """The positives of all levels as dots, larger on coarser levels."""
    drawn, prior_set = scene.with_gts(), scene.prior_set
    # Coarse levels first, so that small dots stay visible.
    for k in np.argsort(-prior_set.strides[own.prior, 0], kind='stable'):
        n = own.prior[k]
        x, y = np.round(prior_set.centers[n] * scene.scale).astype(int).tolist()
        stride = prior_set.strides[n, 0]
        # Larger on coarser levels, but neighbours stay apart.
        radius = max(3, round(1.2 * math.log2(max(stride, 2))) - 1)
        radius = max(2, min(radius, round(0.45 * stride * scene.scale)))
        if -radius <= x < drawn.shape[1] + radius and -radius <= y < drawn.shape[0] + radius:
            cv2.circle(drawn, (x, y), radius, scene.colours[own.gt[k]], -1, cv2.LINE_AA)
            if radius > 2:
                cv2.circle(drawn, (x, y), radius, (255, 255, 255), 1, cv2.LINE_AA)
    return drawn


def _level_panel(scene: _Scene, level: int, own: ImageAssignment) -> tuple[np.ndarray, str]:
    """One level's tiles, and what they count."""
    prior_set = scene.prior_set
    first, size = prior_set.starts[level], prior_set.sizes[level]
    pairs = np.flatnonzero((own.prior >= first) & (own.prior < first + size))
    softs = np.flatnonzero((own.soft_prior >= first) & (own.soft_prior < first + size))
    ignored = own.ignored[first : first + size]
    counts = [f'{len(pairs)} positive']
    if len(softs):
        counts.append(f'{len(np.unique(own.soft_prior[softs]))} soft')
    if ignored.any():
        counts.append(f'{int(ignored.sum())} ignored')
    caption = ', '.join(counts)
    if not prior_set.levels:
        return _bare_panel(scene, own, pairs), caption
    grid, shape = prior_set.levels[level], scene.dimmed.shape[:2]
    # (N_l, 4): colour and opacity of each prior.
    tiles = np.zeros((size, 4), np.float32)
    soft = np.zeros(size, np.float32)
    np.maximum.at(soft, own.soft_prior[softs] - first, own.soft_value[softs])
    tiles[:, :3], tiles[:, 3] = SOFT, np.where(soft > 0, 0.15 + 0.75 * soft, 0)
    drawn = _blend(scene.with_gts(), _spread(tiles, grid, scene.scale, shape))
    hidden = np.zeros((size, 4), np.float32)
    hidden[:, :3], hidden[:, 3] = IGNORED, ignored
    hidden = _spread(hidden, grid, scene.scale, shape)
    y, x = np.indices(shape)
    hidden[..., 3] *= 0.8 * ((x + y) % 7 < 2)
    drawn = _blend(drawn, hidden)
    order = pairs[np.argsort(own.quality[pairs], kind='stable')]  # the best on top
    tiles = np.zeros((size, 4), np.float32)
    at = own.prior[order] - first
    tiles[at, :3] = np.array(scene.colours, np.float32).reshape(-1, 3)[own.gt[order]]
    tiles[at, 3] = 0.6 + 0.4 * np.sqrt(own.quality[order])
    drawn = _blend(drawn, _spread(tiles, grid, scene.scale, shape))
    if min(grid.stride) * scene.scale < _LEAST_TILE:
        _mark(drawn, scene, own, order)
    return drawn, caption


def _mark(drawn: np.ndarray, scene: _Scene, own: ImageAssignment, order: np.ndarray) -> None:
    """Small squares where a cell is too small to be seen."""
    half = _LEAST_TILE // 2
    for k in order:
        x, y = np.round(scene.prior_set.centers[own.prior[k]] * scene.scale).astype(int).tolist()
        colour = scene.colours[own.gt[k]]
        cv2.rectangle(drawn, (x - half, y - half), (x + half - 1, y + half - 1), colour, -1)


def _spread(tiles: np.ndarray, level: Level, scale: float, shape: tuple[int, ...]) -> np.ndarray:
    """Priors' tiles ``(N_l, 4)`` as an image ``(h, w, 4)`` of a panel."""
    a = level.num_base
    side = math.ceil(math.sqrt(a))  # tiles along each side of a cell
    cells = np.zeros((level.height, level.width, side * side, 4), np.float32)
    cells[:, :, :a] = tiles.reshape(level.height, level.width, a, 4)
    if side * side > a and a > 1:
        # The last tile of the cell grows into the free places.
        cells[:, :, a:] = cells[:, :, a - 1 : a]
    grid = cells.reshape(level.height, level.width, side, side, 4).transpose(0, 2, 1, 3, 4)
    grid = grid.reshape(level.height * side, level.width * side, 4)
    # Cell (0, 0) reaches from (offset - 1/2) strides; pixel centres lie at halves.
    step_x, step_y = level.stride[0] * scale / side, level.stride[1] * scale / side
    left = (level.offset - 0.5) * level.stride[0] * scale
    top = (level.offset - 0.5) * level.stride[1] * scale
    columns = np.floor((np.arange(shape[1]) + 0.5 - left) / step_x).astype(int)
    lines = np.floor((np.arange(shape[0]) + 0.5 - top) / step_y).astype(int)
    inside_x = (columns >= 0) & (columns < grid.shape[1])
    inside_y = (lines >= 0) & (lines < grid.shape[0])
    out = np.zeros((shape[0], shape[1], 4), np.float32)
    out[np.ix_(inside_y, inside_x)] = grid[np.ix_(lines[inside_y], columns[inside_x])]
    return out


def _bare_panel(scene: _Scene, own: ImageAssignment, pairs: np.ndarray) -> np.ndarray:
    """Priors without a grid: the outlines of those that are ignored or positive."""
    drawn = scene.with_gts()
    shown = [(n, IGNORED) for n in np.flatnonzero(own.ignored)]
    shown += [(own.prior[k], scene.colours[own.gt[k]]) for k in pairs]
    for n, colour in shown:
        x1, y1, x2, y2 = np.round(scene.prior_set.boxes[n] * scene.scale).astype(int).tolist()
        cv2.rectangle(drawn, (x1, y1), (x2, y2), colour, 1)
    return drawn


def _blend(below: np.ndarray, above: np.ndarray) -> np.ndarray:
    opacity = above[..., 3:]
    return np.round(below * (1 - opacity) + above[..., :3] * opacity).astype(np.uint8)


def _dimmed(image: np.ndarray) -> np.ndarray:
    """Grey and dark, so that colours stand out and objects stay recognisable."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return np.repeat((20 + 0.45 * grey)[..., None], 3, axis=2).astype(np.uint8)
