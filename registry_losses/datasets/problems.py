"""Collects what is wrong with an annotation file and says it in one line."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from typing import Any

from mmengine.logging import print_log

from ..errors import DataError

_EXAMPLES = 3


class Problems:
    """Counts of annotations dropped or changed, by reason, with the first examples.

    Args:
        path: The annotation file or folder, named in every message.
        strict: Raise at the first problem instead of counting it.
    """

    def __init__(self, path: str, *, strict: bool = False) -> None:
        self.path = path
        self.strict = strict
        self.dropped: Counter[str] = Counter()
        self.changed: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = defaultdict(list)

    def drop(self, reason: str, *, image: Any, annotation: Any, detail: str = '') -> None:
        """Note an annotation that is left out."""
        self._note(self.dropped, reason, image, annotation, detail)

    def change(self, reason: str, *, image: Any, annotation: Any, detail: str = '') -> None:
        """Note an annotation that is kept, but not as it stands in the file."""
        self._note(self.changed, reason, image, annotation, detail)

    def fail(self, message: str, *, image: Any = None, annotation: Any = None) -> DataError:
        """The error to raise where nothing sensible can be done."""
        return DataError(f'{self.path}{_where(image, annotation)}: {message}')

    def _note(self, counter: Counter[str], reason: str, image: Any, ann: Any, detail: str) -> None:
        if self.strict and counter is self.dropped:
            raise self.fail(f'{reason} {detail}'.strip(), image=image, annotation=ann)
        counter[reason] += 1
        if len(self._examples[reason]) < _EXAMPLES:
            self._examples[reason].append(f'annotation {ann} of image {image} {detail}'.strip())

    def summary(self, total: int) -> str:
        """One line: how many annotations were dropped or changed, why, and which; '' if none."""
        parts = []
        if self.dropped:
            dropped = sum(self.dropped.values())
            parts.append(f'dropped {dropped} of {total} annotations: {self._list(self.dropped)}')
        if self.changed:
            changed = sum(self.changed.values())
            parts.append(f'changed {changed} of {total} annotations: {self._list(self.changed)}')
        return f'{self.path}: ' + '; '.join(parts) if parts else ''

    def _list(self, counter: Counter[str]) -> str:
        return ', '.join(
            f'{count} {reason} (e.g. {"; ".join(self._examples[reason])})'
            for reason, count in counter.most_common()
        )

    def log(self, total: int) -> None:
        """Write the summary to the current log as a warning, if there is one to write."""
        text = self.summary(total)
        if text:
            print_log(text, logger='current', level=logging.WARNING)


def _where(image: Any, annotation: Any) -> str:
    where = '' if image is None else f', image {image}'
    return where if annotation is None else f'{where}, annotation {annotation}'
