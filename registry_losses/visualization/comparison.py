"""Several runs side by side: a table of what each reached, and their curves in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DataError
from .curves import find_logs, read_scalars

AP = 'coco/bbox_mAP'
OKS_AP = 'coco/keypoints_mAP'


@dataclass(frozen=True)
class RunSummary:
    """What a run reached.

    Args:
        name: Of the work directory.
        series: Figure to ``(n, 2)`` of (step, value), the validations.
        metric: The figure that decides which validation is the best.
        seconds: ``(n, 2)`` of (step, seconds of training so far), validations left out.
    """

    name: str
    series: dict[str, np.ndarray]
    metric: str
    seconds: np.ndarray

    @property
    def best_step(self) -> int:
        """The step of the best validation; of equal ones the first."""
        curve = self.series[self.metric]
        return int(curve[np.nanargmax(curve[:, 1]), 0])

    def at_best(self, figure: str) -> float:
        """A figure at the best validation; NaN if it was not measured there."""
        curve = self.series.get(figure, np.zeros((0, 2)))
        found = curve[curve[:, 0] == self.best_step, 1]
        return float(found[0]) if len(found) else float('nan')

    @property
    def minutes(self) -> float:
        """Minutes of training, validations left out."""
        return float(self.seconds[-1, 1]) / 60 if len(self.seconds) else float('nan')

    @property
    def steps(self) -> int:
        """Steps trained."""
        return int(self.seconds[-1, 0]) if len(self.seconds) else 0


def read_run(work_dir: str | Path, metric: str | None = None) -> RunSummary:
    """The summary of a work directory.

    Args:
        work_dir: Of ``tools/train.py``.
        metric: Figure to rank by. Default: AP of boxes or, where it was not measured, of persons.

    Raises:
        DataError: If there is no log, or the figure was never measured.
    """
    folder = Path(work_dir)
    logs = find_logs(folder)
    if not logs:
        raise DataError(
            f'{folder}: no run of tools/train.py (expected {folder}/*/vis_data/scalars.json)'
        )
    train, val = read_scalars(logs)
    if metric is None:
        metric = OKS_AP if OKS_AP in val and AP not in val else AP
    curve = val.get(metric)
    if curve is None or not np.isfinite(curve[:, 1]).any():
        known = ', '.join(sorted(val)) or 'no validation at all'
        raise DataError(f'{folder}: {metric} was never measured; there is {known}')
    return RunSummary(folder.name, val, metric, _seconds(train.get('time')))


def _seconds(pace: np.ndarray | None) -> np.ndarray:
    """From logged seconds a step, each a mean since the log before, to their running sum."""
    if pace is None or not len(pace):
        return np.zeros((0, 2))
    steps = np.diff(pace[:, 0], prepend=0)
    return np.stack((pace[:, 0], np.cumsum(steps * pace[:, 1])), axis=1)


def markdown_table(runs: Sequence[RunSummary]) -> str:
    """One line a run, the best first."""
    ranked = sorted(runs, key=lambda run: -run.at_best(run.metric))
    metric = runs[0].metric
    base = OKS_AP if metric.startswith(OKS_AP) else AP
    columns = [('AP', base), ('AP50', f'{base}_50'), ('AP75', f'{base}_75')]
    if metric not in dict(columns).values():
        columns.insert(0, (metric, metric))
    head = ['run', *(short for short, _ in columns), 'best at step', 'steps', 'minutes']
    lines = ['| ' + ' | '.join(head) + ' |', '|' + '---|' * len(head)]
    for run in ranked:
        figures = [_figure(run.at_best(figure)) for _, figure in columns]
        cells = [run.name, *figures, str(run.best_step), str(run.steps), f'{run.minutes:.1f}']
        lines.append('| ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def _figure(value: float) -> str:
    return '' if np.isnan(value) else f'{value:.3f}'


def plot_runs(runs: Sequence[RunSummary], path: str | Path) -> Path:
    """Draw the metric of every run over its steps (left) and minutes (right) into a PNG.

    Args:
        runs: At least one.
        path: PNG to write; its folder is made.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.8), dpi=110, layout='constrained')
    FigureCanvasAgg(figure)
    by_step, by_time = figure.subplots(1, 2, sharey=True)
    ranked = sorted(runs, key=lambda run: -run.at_best(run.metric))
    # Ten colours tell apart by eye; further runs repeat them with another line.
    styles = [(f'C{i % 10}', ('-', '--', ':')[i // 10 % 3]) for i in range(len(ranked))]
    for run, (colour, line) in zip(ranked, styles):
        curve = run.series[run.metric]
        label = f'{run.at_best(run.metric):.3f}  {run.name}'
        look = dict(color=colour, linestyle=line, marker='o', markersize=3, label=label)
        by_step.plot(curve[:, 0], curve[:, 1], **look)
        if len(run.seconds):
            minutes = np.interp(curve[:, 0], run.seconds[:, 0], run.seconds[:, 1]) / 60
            by_time.plot(minutes, curve[:, 1], **look)
    by_step.set(xlabel='step', ylabel=runs[0].metric)
    by_time.set(xlabel='minutes of training')
    for ax in (by_step, by_time):
        ax.set_xlim(left=0)
        ax.set_ylim(0, 1)
        ax.grid(alpha=0.3)
    figure.legend(*by_step.get_legend_handles_labels(), loc='outside right center', fontsize=9)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path
