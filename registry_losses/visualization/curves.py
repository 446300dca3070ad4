"""The curves of a run: losses and validation figures over the steps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import DataError

_SHOWN = ('mAP', 'mAP_50', 'mAP_75', 'AP50', 'AP')


def find_logs(work_dir: str | Path) -> list[Path]:
    """The ``scalars.json`` of every start of a run in a work directory, oldest first."""
    return sorted(Path(work_dir).glob('*/vis_data/scalars.json'))


def read_scalars(
    logs: str | Path | Sequence[str | Path],
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Training and validation series, each ``(n, 2)`` of (step, value).

    Args:
        logs: A ``scalars.json`` of MMEngine's LocalVisBackend, several of them in the
            order of the restarts, or the work directory.

    A restarted run repeats the steps after its last checkpoint: the later log counts.
    Where MMEngine numbers validations by epoch, as the run's own length, they take the step
    of the training line before them.
    """
    if isinstance(logs, (str, Path)):
        logs = find_logs(logs) if Path(logs).is_dir() else [logs]
    train: dict[str, dict[int, float]] = {}
    val: dict[str, dict[int, float]] = {}
    for log in logs:
        lines = _lines(Path(log))
        begin = next((int(line['step']) for line in lines if _is_train(line)), None)
        if begin is not None:
            for series in (*train.values(), *val.values()):
                for old in [s for s in series if s >= begin]:
                    del series[old]
        step, by_epoch = 0, any('epoch' in line for line in lines if _is_train(line))
        for line in lines:
            is_train = _is_train(line)
            if is_train:
                step = int(line.get('iter', line['step']))
            elif not by_epoch and int(line['step']) >= step:
                step = int(line['step'])
            target = train if is_train else val
            for key, value in line.items():
                if isinstance(value, (int, float)) and key not in ('iter', 'step', 'epoch'):
                    target.setdefault(key, {})[step] = float(value)
    return _as_arrays(train), _as_arrays(val)


def plot_curves(
    logs: str | Path | Sequence[str | Path], path: str | Path, *, title: str = ''
) -> Path:
    """Draw losses (left) and validation figures (right) into a PNG.

    Args:
        logs: As :func:`read_scalars` takes them.
        path: PNG to write; its folder is made.
        title: Above the picture.

    Returns:
        The path.

    Raises:
        DataError: If the logs hold no loss.
    """
    # Neither pyplot nor a display: a figure of its own, drawn by Agg.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    train, val = read_scalars(logs)
    losses = {k: v for k, v in train.items() if 'loss' in k.split('/')[-1]}
    if not losses:
        raise DataError(f'{logs}: no loss has been logged yet')
    figures = _validation_series(val)
    figure = Figure(figsize=(11 if figures else 6, 4), dpi=110, layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2 if figures else 1, squeeze=False)[0]
    for name, series in sorted(losses.items(), key=lambda item: item[0] != 'loss'):
        _loss_line(axes[0], name, series)
    axes[0].set(xlabel='step', ylabel='loss', title='training')
    # A few first steps are often ten times the rest: a linear axis would hide the rest.
    values = np.concatenate([s[:, 1] for s in losses.values()])
    if np.isfinite(values).any() and np.nanmin(values) > 0:
        axes[0].set_yscale('log')
    if figures:
        for name, series in figures.items():
            axes[1].plot(series[:, 0], series[:, 1], marker='o', markersize=3, label=name)
            axes[1].annotate(
                f'{series[-1, 1]:.3f}',
                series[-1],
                textcoords='offset points',
                xytext=(4, 3),
                fontsize=8,
            )
        axes[1].set(xlabel='step', ylabel='AP', title='validation', ylim=(0, 1))
    for ax in axes:
        ax.grid(alpha=0.3)
        ax.legend(fontsize=8)
    if title:
        figure.suptitle(title)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


def _loss_line(ax, name: str, series: np.ndarray) -> None:
    """The running mean, over the raw values in the same colour, pale."""
    window = max(1, len(series) // 40)
    if window == 1:
        ax.plot(series[:, 0], series[:, 1], label=name, linewidth=1.4)
        return
    (line,) = ax.plot(series[:, 0], series[:, 1], alpha=0.25, linewidth=0.8)
    padded = np.pad(series[:, 1], (window // 2, window - 1 - window // 2), mode='edge')
    mean = np.convolve(padded, np.full(window, 1 / window), mode='valid')
    ax.plot(series[:, 0], mean, color=line.get_color(), label=name, linewidth=1.4)


def _validation_series(val: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The headline figures, without points that are undefined."""
    shown = {}
    for key, series in val.items():
        short = key.split('/')[-1].removeprefix('bbox_').removeprefix('keypoints_')
        defined = series[np.isfinite(series[:, 1])]
        if short in _SHOWN and len(defined):
            shown[key] = defined
    return shown


def _lines(path: Path) -> list[dict]:
    if not path.is_file():
        raise DataError(f'no log at {path}')
    lines = []
    for text in path.read_text().splitlines():
        try:
            line = json.loads(text)
        except ValueError:  # the last line of a killed run may be cut off
            continue
        if isinstance(line, dict) and 'step' in line:
            lines.append(line)
    return lines


def _is_train(line: dict) -> bool:
    return any('loss' in key for key in line) and 'lr' in line


def _as_arrays(series: dict[str, dict[int, float]]) -> dict[str, np.ndarray]:
    return {k: np.array(sorted(v.items()), np.float64).reshape(-1, 2) for k, v in series.items()}
