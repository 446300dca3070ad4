"""Pose targets, loss and decoding in the plain way: person by person, joint by joint.

NumPy and PyTorch, as the papers state them and as the established packages do it; small
windows are computed as a whole, which is how those do it too.

Shapes: n persons, V joints, L limbs, H x W cells.
"""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def heatmaps(joints: np.ndarray, size: tuple[int, int], sigma: float) -> np.ndarray:
    """``(V, H, W)``: of each person's joint a window, the maximum kept."""
    height, width = size
    maps = np.zeros((joints.shape[1], height, width), np.float32)
    reach = int(3 * sigma)
    for person in joints:
        for v, (x, y) in enumerate(person):
            cx, cy = int(x + 0.5), int(y + 0.5)
            columns = np.arange(max(cx - reach, 0), min(cx + reach + 1, width))
            rows = np.arange(max(cy - reach, 0), min(cy + reach + 1, height))
            gap = (columns[None] - x) ** 2 + (rows[:, None] - y) ** 2
            value = np.exp(-gap / (2 * sigma**2))
            part = maps[v, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            np.maximum(part, value, out=part)
    return maps


def fields(
    joints: np.ndarray, limbs: Sequence[tuple[int, int]], size: tuple[int, int], half_width: float
) -> np.ndarray:
    """``(2 L, H, W)``: of each person's limb the rectangle's bounding window, averaged."""
    height, width = size
    maps = np.zeros((2 * len(limbs), height, width), np.float32)
    for number, (i, j) in enumerate(limbs):
        count = np.zeros(size, np.float32)
        for person in joints:
            a, b = person[i], person[j]
            length = np.linalg.norm(b - a)
            if length < 1e-4:
                continue
            unit = (b - a) / length
            low = np.maximum(np.floor(np.minimum(a, b) - half_width), 0).astype(int)
            high = np.minimum(np.ceil(np.maximum(a, b) + half_width), [width - 1, height - 1])
            x, y = np.meshgrid(np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1))
            along = (x - a[0]) * unit[0] + (y - a[1]) * unit[1]
            across = np.abs((x - a[0]) * unit[1] - (y - a[1]) * unit[0])
            on = (along >= -half_width) & (along <= length + half_width) & (across <= half_width)
            rows, columns = y[on].astype(int), x[on].astype(int)
            maps[2 * number, rows, columns] += unit[0]
            maps[2 * number + 1, rows, columns] += unit[1]
            count[rows, columns] += 1
        maps[2 * number : 2 * number + 2] /= np.maximum(count, 1)
    return maps


def tag_maps(joints: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """``(V, H, W)``: around each joint its person's number, three apart."""
    maps = np.zeros((joints.shape[1], *size), np.float32)
    for number, person in enumerate(joints):
        for v, (x, y) in enumerate(person):
            cx, cy = int(x + 0.5), int(y + 0.5)
            maps[v, max(cy - 2, 0) : cy + 3, max(cx - 2, 0) : cx + 3] = 3.0 * number
    return maps


def embedding_loss(
    heat: Tensor, tags: Tensor, target: Tensor, joints: Sequence[np.ndarray]
) -> Tensor:
    """Mean squared error, and pull and push image by image, person by person."""
    loss = ((heat - target) ** 2).mean()
    for image, persons in enumerate(joints):
        means, pull = [], tags.new_zeros(())
        for person in persons:
            own = []
            for v, (x, y) in enumerate(person):
                row = min(int(y + 0.5), tags.shape[-2] - 1)
                column = min(int(x + 0.5), tags.shape[-1] - 1)
                own.append(tags[image, v, row, column])
            tag = torch.stack(own)
            means.append(tag.mean())
            pull = pull + ((tag - means[-1]) ** 2).mean()
        mean = torch.stack(means)
        n = len(means)
        push = torch.exp(-((mean[:, None] - mean[None]) ** 2)).sum() / max(n * (n - 1), 1)
        loss = loss + 0.001 * (pull / n + 0.5 * push)
    return loss


def peaks(heat: np.ndarray, threshold: float = 0.1) -> list[list[tuple[float, int, int]]]:
    """For each joint the cells that no neighbour exceeds: score, x, y."""
    found = []
    for plane in heat:
        padded = np.pad(plane, 1)
        highest = np.max(
            [
                padded[i : i + plane.shape[0], j : j + plane.shape[1]]
                for i in range(3)
                for j in range(3)
            ],
            axis=0,
        )
        rows, columns = np.nonzero((plane == highest) & (plane > threshold))
        found.append([(float(plane[r, c]), c, r) for r, c in zip(rows, columns)])
    return found


def group_by_tags(heat: np.ndarray, tags: np.ndarray) -> list[dict]:
    """Joint by joint, each candidate to the person whose mean tag is nearest."""
    persons: list[dict] = []
    for v, candidates in enumerate(peaks(heat)):
        found = [(score, x, y, tags[v, y, x]) for score, x, y in candidates]
        taken = set()
        if persons and found:
            cost = np.array([[abs(f[3] - np.mean(p['tags'])) for p in persons] for f in found])
            for i, j in zip(*linear_sum_assignment(np.rint(cost) * 100)):
                if cost[i, j] < 1:
                    persons[j]['joints'][v] = found[i]
                    persons[j]['tags'].append(found[i][3])
                    taken.add(i)
        for i, candidate in enumerate(found):
            if i not in taken:
                persons.append(dict(joints={v: candidate}, tags=[candidate[3]]))
    for person in persons:
        for v in range(len(heat)):
            if v not in person['joints']:
                value = heat[v] - np.rint(np.abs(tags[v] - np.mean(person['tags'])))
                row, column = np.unravel_index(value.argmax(), value.shape)
                person['joints'][v] = (heat[v, row, column], column, row, 0.0)
    return persons


def group_by_limbs(
    heat: np.ndarray, field: np.ndarray, limbs: Sequence[tuple[int, int]]
) -> list[dict[int, int]]:
    """Pair by pair the line integral, limb by limb the assignment, then the persons."""
    candidates = peaks(heat)
    persons: list[dict[int, int]] = []
    for number, (i, j) in enumerate(limbs):
        gain = np.zeros((len(candidates[i]), len(candidates[j])))
        for m, (_, ax, ay) in enumerate(candidates[i]):
            for n, (_, bx, by) in enumerate(candidates[j]):
                length = np.hypot(bx - ax, by - ay)
                if length < 1e-6:
                    continue
                x = np.rint(np.linspace(ax, bx, 10)).astype(int)
                y = np.rint(np.linspace(ay, by, 10)).astype(int)
                along = field[2 * number, y, x] * (bx - ax) + field[2 * number + 1, y, x] * (
                    by - ay
                )
                along = along / length
                if (along > 0.05).mean() >= 0.8:
                    gain[m, n] = along.mean()
        for m, n in zip(*linear_sum_assignment(gain, maximize=True)):
            if gain[m, n] <= 0.05:
                continue
            owner = next((p for p in persons if p.get(i) == m or p.get(j) == n), None)
            if owner is None:
                persons.append({i: m, j: n})
            else:
                owner.setdefault(i, m)
                owner.setdefault(j, n)
    return persons
