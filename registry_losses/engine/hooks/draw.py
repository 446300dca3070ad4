"""Pictures of a run: predictions beside the ground truth, curves, and where they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from ...errors import RegistryLossesError
from ...evaluation import CocoMetric, VOCMetric
from ...registry import HOOKS
from ...visualization import draw_prediction_sheet, plot_curves
from ...visualization.names import picture_names
from ...visualization.report import CLASSES, HEADLINES, write_report
from ..run_record import run_record, write_record


@HOOKS.register_module()
class DrawPredictionsHook(Hook):
    """Draws the predictions of a test beside the ground truth, one PNG an image.

    Args:
        out_dir: Folder of the pictures; a relative one is as the shell sees it.
        score_thr: Predictions below it are left out.
    """

    def __init__(self, out_dir: str, score_thr: float = 0.3) -> None:
        self.out_dir = Path(out_dir)
        self.score_thr = score_thr
        self._names: dict[str, str] = {}

    def before_test(self, runner: Any) -> None:
        """Give each image of the data set a name of its own, the same on every rank."""
        dataset = runner.test_dataloader.dataset
        paths = [str(dataset.get_data_info(i)['img_path']) for i in range(len(dataset))]
        paths = list(dict.fromkeys(paths))
        self._names = dict(zip(paths, picture_names(paths)))

    def after_test_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Draw the images of a batch; each rank draws its own."""
        for sample in outputs or ():
            name = self._names.get(str(sample.img_path), f'{Path(sample.img_path).stem}.png')
            draw_prediction_sheet(
                [sample],
                self.out_dir / name,
                classes=_classes(runner.test_dataloader),
                score_thr=self.score_thr,
                columns=1,
                cell=512,
            )

    def after_test(self, runner: Any) -> None:
        """Say where they are."""
        runner.logger.info(f'Pictures: {self.out_dir.resolve()}')


@HOOKS.register_module()
class ReportHook(Hook):
    """Ends a training with two pictures, a page and a summary.

    ``curves.png`` shows losses and validation figures, ``predictions.png`` images of
    the last validation with predictions beside the ground truth, ``report.html`` both, the
    AP of every class, and how the run was made; they lie in the work directory. The summary
    states the last validation's figures and where everything is.

    Args:
        max_images: Images on the sheet, spread evenly over the validation set.
        score_thr: Predictions below it are not drawn.
    """

    priority = 'LOWEST'  # after the last checkpoint, so that its name can be told

    def __init__(self, max_images: int = 12, score_thr: float = 0.3) -> None:
        self.max_images = max_images
        self.score_thr = score_thr
        self._samples: list[Any] = []
        self._classes: list[dict[str, Any]] = []

    def before_train(self, runner: Any) -> None:
        """Note how the run is made."""
        if is_main_process():
            record = run_record(threads=torch.get_num_threads(), seed=runner.seed)
            write_record(runner.log_dir, record)

    def before_val_epoch(self, runner: Any) -> None:
        """Forget the validation before."""
        self._samples = []

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Keep the AP of every class, which the log has not."""
        if not is_main_process():
            return
        classes: dict[str, dict[str, float]] = {}
        for metric in runner.val_evaluator.metrics:
            if isinstance(metric, (CocoMetric, VOCMetric)):
                for name, values in metric.class_ap.items():
                    classes.setdefault(name, {}).update(values)
        if classes:
            self._classes.append(dict(step=runner.iter, classes=classes))
            # As standard JSON: a figure that nothing defines is null there.
            text = json.dumps(self._classes).replace('NaN', 'null')
            (Path(runner.log_dir) / CLASSES).write_text(text, encoding='utf-8')

    def after_val_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Keep an image of evenly spread batches."""
        every = max(1, len(runner.val_dataloader) // self.max_images)
        if outputs and batch_idx % every == 0 and len(self._samples) < self.max_images:
            room = self.max_images - len(self._samples)
            count = -(-self.max_images // len(runner.val_dataloader))
            self._samples += list(outputs)[: min(room, count)]

    def after_train(self, runner: Any) -> None:
        """Draw, and say what was reached."""
        if not is_main_process():
            return
        work_dir = Path(runner.work_dir)
        lines = ['Training is done.']
        figures = _figures(runner)
        if figures:
            lines.append('Last validation: ' + ', '.join(f'{n} {v:.3f}' for n, v in figures))
        lines += self._draw(runner, work_dir)
        best = runner.message_hub.get_info('best_ckpt')
        last = runner.message_hub.get_info('last_ckpt')
        for name, path in (('Best checkpoint', best), ('Last checkpoint', last)):
            if path:
                lines.append(f'{name}: {path}')
        lines.append(f'Log: {runner.log_dir}')
        runner.logger.info('\n  '.join(lines))

    def _draw(self, runner: Any, work_dir: Path) -> list[str]:
        # A picture that cannot be drawn is no reason to end a finished training in an error.
        lines = []
        try:
            path = plot_curves(work_dir, work_dir / 'curves.png', title=work_dir.name)
            lines.append(f'Curves: {path}')
        except (RegistryLossesError, OSError) as error:
            runner.logger.warning(f'No curves: {error}')
        if self._samples:
            try:
                path = draw_prediction_sheet(
                    self._samples,
                    work_dir / 'predictions.png',
                    classes=_classes(runner.val_dataloader),
                    score_thr=self.score_thr,
                    max_images=self.max_images,
                )
                lines.append(f'Predictions: {path}')
            except (RegistryLossesError, OSError) as error:
                runner.logger.warning(f'No sheet of predictions: {error}')
        try:
            lines.append(f'Report: {write_report(work_dir)}')
        except (RegistryLossesError, OSError) as error:
            runner.logger.warning(f'No report: {error}')
        return lines


def _classes(dataloader: Any) -> Any:
    return getattr(dataloader.dataset, 'metainfo', {}).get('classes')


def _figures(runner: Any) -> list[tuple[str, float]]:
    scalars = runner.message_hub.log_scalars
    return [
        (title, float(scalars[f'val/{name}'].current()))
        for name, title in HEADLINES
        if f'val/{name}' in scalars
    ]
