"""How many priors an assigner gives to each gt, on each level, to each size of gt.

Shapes: B images, M gts, L levels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..structures import Assignment, GroundTruth, Priors

SIZE_NAMES = ('< 16', '16 to 32', '32 to 64', '64 to 128', '> 128')
_SIZE_ENDS = (16.0, 32.0, 64.0, 128.0)


def size_group(size: np.ndarray) -> np.ndarray:
    """Which of :data:`SIZE_NAMES` a size in pixels belongs to, by index."""
    return np.digitize(size, _SIZE_ENDS)


@dataclass(frozen=True, eq=False)
class Counts:
    """How many priors an assigner gives.

    Args:
        per_gt: ``(B, M)`` positives of each gt; those of invalid gts are 0.
        per_level: ``(L,)`` positives.
        soft: Soft priors, on all levels.
        ignored: Ignored priors.
        gts: ``(B, M)`` bool, which gts are real.
        gt_size: ``(B, M)`` square root of the area in pixels.
    """

    per_gt: np.ndarray
    per_level: np.ndarray
    soft: int
    ignored: int
    gts: np.ndarray
    gt_size: np.ndarray

    @classmethod
    def of(cls, assignment: Assignment, priors: Priors, gt: GroundTruth) -> Counts:
        """Count a batch."""
        b, m = gt.valid.shape
        gt_at = (assignment.image * m + assignment.gt).cpu().numpy()
        level = priors.level_ids[assignment.prior].cpu().numpy()
        soft = assignment.soft
        prior_index = set() if soft is None else set(zip(soft.image.tolist(), soft.prior.tolist()))
        return cls(
            per_gt=np.bincount(gt_at, minlength=b * m).reshape(b, m),
            per_level=np.bincount(level, minlength=len(priors.level_sizes)),
            soft=len(prior_index),
            ignored=int(assignment.ignored.sum()),
            gts=gt.valid.cpu().numpy(),
            gt_size=gt.areas.sqrt().cpu().numpy(),
        )

    @property
    def positives(self) -> int:
        """All of them."""
        return int(self.per_gt.sum())

    @property
    def without(self) -> int:
        """Real gts without a positive."""
        return int((self.gts & (self.per_gt == 0)).sum())

    def per_size(self) -> list[tuple[int, float]]:
        """For each of :data:`SIZE_NAMES` the number of gts, and their mean positives."""
        group = size_group(self.gt_size)
        out = []
        for i in range(len(SIZE_NAMES)):
            own = self.per_gt[self.gts & (group == i)]
            out.append((len(own), float(own.mean()) if len(own) else math.nan))
        return out

    def without_per_size(self) -> list[int]:
        """For each of :data:`SIZE_NAMES` the gts without a positive."""
        alone = self.gts & (self.per_gt == 0)
        group = size_group(self.gt_size)
        return [int((alone & (group == i)).sum()) for i in range(len(SIZE_NAMES))]

    def plus(self, other: Counts) -> Counts:
        """The counts of two batches together."""
        return Counts(
            per_gt=_stack(self.per_gt, other.per_gt),
            per_level=self.per_level + other.per_level,
            soft=self.soft + other.soft,
            ignored=self.ignored + other.ignored,
            gts=_stack(self.gts, other.gts),
            gt_size=_stack(self.gt_size, other.gt_size),
        )


def _stack(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Batches below each other, padded to the larger M."""
    width = max(first.shape[1], second.shape[1])
    padded = [np.pad(v, ((0, 0), (0, width - v.shape[1]))) for v in (first, second)]
    return np.concatenate(padded)


@dataclass(frozen=True)
class Table:
    """A table of text.

    Args:
        title: What it shows.
        head: Names of the columns.
        rows: Cells.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """As Markdown, with a heading."""
        lines = [
            f'## {self.title}',
            '',
            '| ' + ' | '.join(self.head) + ' |',
            '|' + '---|' * len(self.head),
            *('| ' + ' | '.join(row) + ' |' for row in self.rows),
        ]
        return '\n'.join(lines) + '\n'


def count_tables(counts: Mapping[str, Counts], strides: Sequence[str]) -> list[Table]:
    """Tables for reading: in all, per level, per size of gt, and gts left out per size.

    Args:
        counts: Name of the assigner to its counts.
        strides: What to call the levels.
    """
    total, level, size, alone = [], [], [], []
    for name, count in counts.items():
        number = max(int(count.gts.sum()), 1)
        total.append(
            (
                name,
                str(count.positives),
                f'{count.positives / number:.1f}',
                str(count.without),
                str(count.soft),
                str(count.ignored),
            )
        )
        level.append((name, *(str(int(n)) for n in count.per_level)))
        size.append((name, *('-' if not n else f'{mean:.1f}' for n, mean in count.per_size())))
        of_size = zip(count.per_size(), count.without_per_size())
        alone.append((name, *(str(own) if n else '-' for (n, _), own in of_size)))
    numbers = [str(n) for n, _ in next(iter(counts.values())).per_size()] if counts else []
    for rows in (size, alone):
        rows.append(('(gts)', *numbers))
    return [
        Table(
            'In all',
            ('assigner', 'positive', 'per gt', 'gts without', 'soft', 'ignored'),
            tuple(total),
        ),
        Table('Positives per level', ('assigner', *strides), tuple(level)),
        Table(
            'Positives per gt, by the square root of its area in pixels',
            ('assigner', *SIZE_NAMES),
            tuple(size),
        ),
        Table(
            'Gts without a positive, by the square root of their area in pixels',
            ('assigner', *SIZE_NAMES),
            tuple(alone),
        ),
    ]


def gt_table(
    counts: Mapping[str, Counts], names: Sequence[str], labels: Sequence[Sequence[str]]
) -> Table:
    """Positives of every gt.

    Args:
        counts: Name of the assigner to its counts.
        names: What to call each image.
        labels: For each image the name of each gt.
    """
    rows = []
    first = next(iter(counts.values()), None)
    for b, name in enumerate(names):
        for m, label in enumerate(labels[b]):
            if first is not None and first.gts[b, m]:
                size = f'{first.gt_size[b, m]:.0f}'
                own = (str(int(count.per_gt[b, m])) for count in counts.values())
                rows.append((name, str(m), label, size, *own))
    return Table('Positives of each gt', ('image', 'gt', 'class', 'size', *counts), tuple(rows))
