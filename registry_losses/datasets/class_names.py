"""Class names chosen by the user against those of the annotation files."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from mmengine.logging import print_log

from ..errors import DataError, nearest_names
from .metainfo import make_palette

Missing = Literal['error', 'error_if_near', 'warn']

_SHOWN = 20


def with_palette(metainfo: Mapping | None) -> dict | None:
    """``metainfo`` with ``classes`` as a checked tuple, and a palette that fits it.

    Raises:
        DataError: If the classes are no sequence of distinct names.
    """
    if not metainfo or 'classes' not in metainfo:
        slip = nearest_names('classes', [str(key) for key in metainfo or ()])
        if slip:
            raise DataError(f"metainfo: {slip[0]!r} is not read: write classes=('cat', ...)")
        return dict(metainfo) if metainfo else None
    classes = metainfo['classes']
    if isinstance(classes, str) or not all(isinstance(c, str) for c in classes):
        raise DataError(
            f'metainfo: expected classes as a tuple of names, got {classes!r}; '
            "write classes=('cat',) with the comma for a single class"
        )
    if not classes or len(set(classes)) != len(classes):
        raise DataError(f'metainfo: expected distinct classes, at least one, got {classes!r}')
    result = {**metainfo, 'classes': tuple(classes)}
    result.setdefault('palette', make_palette(len(classes)))
    return result


def match_classes(
    names: Iterable[str],
    classes: Sequence[str],
    *,
    path: str,
    explicit: bool,
    lists_all: bool = True,
    missing: Missing = 'error',
) -> dict[str, int]:
    """Name in the files -> label, for the names that are among ``classes``.

    Names outside ``classes`` are left out when the user chose the classes and the files
    have all of them (a subset), and are an error otherwise: then they are as likely a
    misspelling as a choice. A chosen class that the files do not have is an error too.

    Args:
        names: The names that occur in the files.
        classes: The names that become the labels 0, 1, ...
        path: The annotation file, for messages.
        explicit: The user chose ``classes``; else they are the data set's default, of
            which a file may have a part.
        lists_all: ``names`` is a list of all categories (COCO), and not merely what
            objects are called in these files (VOC), where a rare class may be absent.
        missing: What a class that the files do not have is: an error, an error only if
            a name near it is there (validation and test files), or a warning.

    Raises:
        DataError: With the nearest names.
    """
    names = list(dict.fromkeys(names))
    label_of = {name: i for i, name in enumerate(classes) if name in set(names)}
    unknown = [name for name in names if name not in label_of]
    absent = [name for name in classes if name not in label_of]
    if names and not label_of and explicit:
        raise DataError(
            f'{path}: none of the classes {list(classes)[:10]} is among its categories '
            f'{names[:_SHOWN]}: {_hints(absent, names)}. Give metainfo=dict(classes=(...)) with '
            "the file's names, and the head's num_classes to match"
        )
    if unknown and not explicit:
        raise DataError(
            f'{path}: {len(unknown)} categories of the file are not among the {len(classes)} '
            f'classes: {_hints(unknown, classes)}. If the file has its own label set, or you want '
            f'some of its categories only, give metainfo=dict(classes=(...)) out of '
            f'{tuple(names)[:_SHOWN]}'
        )
    if not (absent and explicit and names):
        return label_of
    near = any(nearest_names(name, unknown) for name in absent)
    certain = missing == 'error' and (lists_all or bool(unknown))
    if certain or (near and missing != 'warn'):
        raise DataError(
            f'{path}: {len(absent)} of the classes match nothing in the file: '
            f'{_hints(absent, unknown or names)}; categories of the file that are not among the '
            f'classes: {_hints(unknown, absent) or "none"}; classes missing from the file: '
            f'{absent[:10]}. Correct the names in metainfo=dict(classes=(...)); if a '
            "class is absent here on purpose, say missing_classes='warn'"
        )
    print_log(f'{path}: no category named {absent[:10]}', 'current', logging.WARNING)
    return label_of


def _hints(names: Sequence[str], candidates: Sequence[str]) -> str:
    return '; '.join(nearest_hint(name, candidates) for name in names[:5])


def nearest_hint(name: str, candidates: Sequence[str]) -> str:
    """A name and the candidates nearest to it, for a message."""
    near = nearest_names(name, candidates)
    return f'{name!r} (nearest: {", ".join(map(repr, near)) if near else "none"})'


def log_skipped(path: str, skipped: Mapping[str, int], total: int) -> None:
    """Say how many objects bear a name that is not among the chosen classes, and which."""
    if skipped:
        names = ', '.join(f'{name} {n}' for name, n in Counter(skipped).most_common(_SHOWN))
        print_log(
            f'{path}: {sum(skipped.values())} of {total} annotations are skipped: they belong to '
            f'categories outside `classes` ({names})',
            logger='current',
            level=logging.WARNING,
        )


def log_counts(path: str, images: Sequence[Mapping], classes: Sequence[str]) -> None:
    """One line: images, objects, how many of each class, and how many are ignore regions."""
    counts: Counter[int] = Counter()
    ignored = 0
    for image in images:
        for instance in image['instances']:
            ignored += instance['ignore_flag']
            counts[instance['bbox_label']] += not instance['ignore_flag']
    shown = list(range(len(classes)))
    if len(classes) > _SHOWN:
        shown = sorted(shown, key=lambda label: -counts[label])[:_SHOWN]
    parts = [f'{classes[label]} {counts[label]}' for label in shown]
    if len(classes) > _SHOWN:
        parts.append(f'and {len(classes) - _SHOWN} more classes')
    text = f'{path}: {len(images)} images, {sum(counts.values())} objects: {", ".join(parts)}'
    if ignored:
        text += f'; {ignored} ignore regions'
    level = logging.INFO if sum(counts.values()) else logging.WARNING
    print_log(text, logger='current', level=level)
