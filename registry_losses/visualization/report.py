"""One page for a run of training: figures, curves, classes, pictures, and how it was run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from . import page
from .curves import find_logs, plot_curves, read_scalars

CLASSES = 'class_ap.json'
"""Beside the log of a run: AP of every class at each validation."""

# What a user wants to read first, in this order.
HEADLINES = (
    ('coco/bbox_mAP', 'COCO AP'),
    ('coco/bbox_mAP_50', 'AP50'),
    ('coco/bbox_mAP_75', 'AP75'),
    ('coco/keypoints_mAP', 'OKS AP'),
    ('coco/keypoints_mAP_50', 'OKS AP50'),
    ('pascal_voc/mAP', 'VOC mAP'),
    ('pascal_voc/AP50', 'AP50'),
)
_SUFFIX = '_precision'  # of the classes' figures, where the config asks for them in the log


def write_report(work_dir: str | Path, path: str | Path | None = None) -> Path:
    """Write the page of a run from what lies in its work directory.

    Curves and classes come from the logs, pictures from ``predictions.png``; command,
    versions and commit from the record that a training leaves beside its log. Runs that have
    none of the latter, of earlier versions, get a page without it.

    Args:
        work_dir: Of ``tools/train.py``.
        path: HTML to write. Default: ``report.html`` in the work directory.

    Returns:
        The path.

    Raises:
        DataError: If there is no log.
    """
    folder = Path(work_dir)
    logs = find_logs(folder)
    if not logs:
        raise DataError(
            f'{folder}: no run of tools/train.py (expected {folder}/*/vis_data/scalars.json)'
        )
    path = folder / 'report.html' if path is None else Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    train, val = read_scalars(logs)
    record = _newest(folder, 'run.json') or {}
    parts = [page.paragraph(_summary(train, val)), *_figures(val)]
    if any('loss' in key for key in train):
        curves = plot_curves(logs, folder / 'curves.png', title=folder.resolve().name)
        parts += [page.heading('Curves'), page.picture(curves)]
    parts += _validations(val)
    parts += _classes(_newest(folder, CLASSES), val)
    sheet = folder / 'predictions.png'
    if sheet.is_file():
        parts += [page.heading('Predictions'), page.picture(sheet)]
    parts += _how(record, logs)
    path.write_text(page.page(folder.resolve().name, parts), encoding='utf-8')
    return path


def _newest(folder: Path, name: str) -> Any:
    """The JSON of that name in the log of the last start that has one; None if none has."""
    for found in sorted(folder.glob(f'*/{name}'), reverse=True):
        try:
            return json.loads(found.read_text(encoding='utf-8'))
        except ValueError:  # of a run that was killed while it wrote
            continue
    return None


def _summary(train: dict[str, np.ndarray], val: dict[str, np.ndarray]) -> str:
    pace = train.get('time')
    steps = max((int(series[-1, 0]) for series in train.values()), default=0)
    text = f'{steps:,} steps of training'
    if pace is not None and len(pace):
        seconds = float((np.diff(pace[:, 0], prepend=0) * pace[:, 1]).sum())
        text += f' in {seconds / 60:.1f} minutes ({np.median(pace[:, 1]):.3f} s a step, median)'
    count = max((len(series) for series in val.values()), default=0)
    return text + f', {count} validation{"s" * (count != 1)}.'


def _shown(value: float) -> str:
    return 'undefined' if np.isnan(value) else f'{value:.3f}'


def _figures(val: dict[str, np.ndarray]) -> list[str]:
    """The headline figures of the last validation, and the best of the first of them."""
    found = [(title, val[name]) for name, title in HEADLINES if name in val]
    if not found:
        return []
    named = [(title, _shown(float(series[-1, 1]))) for title, series in found]
    title, series = found[0]
    if np.isfinite(series[:, 1]).any():
        best = int(np.nanargmax(series[:, 1]))
        if best != len(series) - 1:
            step = int(series[best, 0])
            named.append((f'best {title}, step {step}', _shown(float(series[best, 1]))))
    return [page.figures(named)]


def _validations(val: dict[str, np.ndarray]) -> list[str]:
    names = [key for key in val if not key.endswith((_SUFFIX, 'time'))]
    if not names:
        return []
    steps = sorted({int(step) for key in names for step in val[key][:, 0]})
    at = {key: dict(val[key]) for key in names}
    rows = [
        [step, *(_shown(at[key][step]) if step in at[key] else '' for key in names)]
        for step in steps
    ]
    short = [key.rpartition('/')[2].removeprefix('bbox_') for key in names]
    return [page.heading('Validations'), page.table(['step', *short], rows)]


def _classes(record: list[dict] | None, val: dict[str, np.ndarray]) -> list[str]:
    """AP of each class at the last validation, lowest first."""
    if record:
        last = record[-1]
        figures = sorted({name for values in last['classes'].values() for name in values})
        rows = [
            [name, *(float('nan') if values.get(f) is None else values[f] for f in figures)]
            for name, values in last['classes'].items()
        ]
    else:
        figures = ['AP']
        rows = [
            [key.rpartition('/')[2].removesuffix(_SUFFIX), float(series[-1, 1])]
            for key, series in val.items()
            if key.endswith(_SUFFIX)
        ]
    if not rows:
        return []
    rows.sort(key=lambda row: (np.isnan(row[1]), row[1]))
    cells = [[row[0], *(_shown(value) for value in row[1:])] for row in rows]
    return [
        page.heading('Classes'),
        page.paragraph('At the last validation, lowest first.'),
        page.table(['class', *figures], cells),
    ]


def _how(record: dict[str, Any], logs: list[Path]) -> list[str]:
    """Command, versions, commit, machine and config."""
    parts = [page.heading('How it was run')]
    rows = [
        [key, record[key]]
        for key in ('command', 'folder', 'started', 'commit', 'machine', 'threads', 'seed')
        if key in record
    ]
    rows += [[name, version] for name, version in record.get('versions', {}).items()]
    if rows:
        parts.append(page.table([], rows, text=True))
    else:
        parts.append(page.paragraph('Not recorded: this run was made by an earlier version.'))
    if len(logs) > 1:
        parts.append(page.paragraph(f'Started {len(logs)} times; the last start is shown.'))
    config = logs[-1].with_name('config.py')
    if config.is_file():
        parts.append(page.folded('Config', config.read_text(encoding='utf-8')))
    return parts
