"""ClassTargets: what a classification loss receives.

Shapes: R rows (class vectors of the whole batch), C classes, E non-zero entries.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import check_shape


@dataclass(frozen=True, eq=False)
class ClassTargets:
    """A sparse ``(R, C)`` target: its non-zero entries, and the rows to leave out.

    Each (row, class) occurs at most once, and no entry lies in an ignored row. A loss
    reads positivity from ``positive``, never from ``values == 1``.

    Args:
        rows: ``(E,)`` int64 in [0, R).
        classes: ``(E,)`` int64 in [0, C).
        values: ``(E,)`` float32 in (0, 1].
        positive: ``(E,)`` bool; False for soft entries (Gaussian targets).
        ignored: ``(R,)`` bool, rows that take no part.
        num_classes: C, without background.

    Example:
        >>> import torch
        >>> t = ClassTargets.from_labels(torch.tensor([2, 3, -1]), num_classes=3)
        >>> t.dense().tolist()
        [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
        >>> t.ignored.tolist()
        [False, False, True]
    """

    rows: Tensor
    classes: Tensor
    values: Tensor
    positive: Tensor
    ignored: Tensor
    num_classes: int

    def __post_init__(self) -> None:
        e = self.rows.shape[0]
        for name in ('rows', 'classes', 'values', 'positive'):
            check_shape(f'class_targets.{name}', getattr(self, name), e)
        check_shape('class_targets.ignored', self.ignored, 'R')

    @property
    def num_rows(self) -> int:
        """R."""
        return self.ignored.shape[0]

    @classmethod
    def from_labels(
        cls, labels: Tensor, num_classes: int, *, scores: Tensor | None = None
    ) -> 'ClassTargets':
        """From int labels ``(R,)``: C is background, negative labels are ignored rows.

        Args:
            labels: ``(R,)``.
            num_classes: C.
            scores: ``(R,)`` values of the positive rows; 1 by default.
        """
        rows = ((labels >= 0) & (labels < num_classes)).nonzero().squeeze(1)
        values = torch.ones_like(rows, dtype=torch.float32)
        if scores is not None:
            values = scores[rows].float()
        return cls(
            rows=rows,
            classes=labels[rows].long(),
            values=values,
            positive=torch.ones_like(rows, dtype=torch.bool),
            ignored=labels < 0,
            num_classes=num_classes,
        )

    @classmethod
    def merge(
        cls,
        rows: Tensor,
        classes: Tensor,
        values: Tensor,
        positive: Tensor,
        ignored: Tensor,
        num_classes: int,
    ) -> 'ClassTargets':
        """Build from entries that may repeat or lie in ignored rows.

        Of a repeated (row, class) a positive entry wins over soft ones, then the
        largest value. Soft entries of ignored rows go. Costs one wait for the device
        (the number of entries left).
        """
        order = torch.argsort(values)
        order = order[torch.argsort(positive[order].to(torch.uint8), stable=True)]
        key = (rows * num_classes + classes)[order]
        key, by_key = torch.sort(key, stable=True)
        order = order[by_key]
        last = torch.ones_like(key, dtype=torch.bool)
        last[:-1] = key[:-1] != key[1:]
        keep = order[last & ~ignored[rows[order]]]
        return cls(rows[keep], classes[keep], values[keep], positive[keep], ignored, num_classes)

    def dense(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """``(R, C)``, zero but at the entries."""
        out = self.values.new_zeros(self.num_rows, self.num_classes, dtype=dtype)
        return out.index_put_((self.rows, self.classes), self.values.to(dtype))

    def label_score(self) -> tuple[Tensor, Tensor, Tensor]:
        """One label per row, for losses that know no more.

        The positive entry with the largest value gives a row its label; among equals
        the lowest class.

        Returns:
            labels ``(R,)`` with C for background, scores ``(R,)`` (0 for background),
            weight ``(R,)`` float: 0 for ignored rows and for rows that are only soft.
        """
        r, c = self.num_rows, self.num_classes
        scores = self.values.new_zeros(r)
        values = torch.where(self.positive, self.values, 0)
        scores.scatter_reduce_(0, self.rows, values, 'amax')
        best = self.positive & (values == scores[self.rows])
        candidate = torch.where(best, self.classes, c)
        labels = self.rows.new_full((r,), c).scatter_reduce_(0, self.rows, candidate, 'amin')
        only_soft = torch.zeros_like(self.ignored)
        only_soft[self.rows] = True
        only_soft &= labels == c
        weight = (~(self.ignored | only_soft)).to(self.values.dtype)
        return labels, scores, weight

    def labels(self) -> tuple[Tensor, Tensor]:
        """:meth:`label_score` without the scores: labels ``(R,)`` and weight ``(R,)``."""
        labels, _, weight = self.label_score()
        return labels, weight
