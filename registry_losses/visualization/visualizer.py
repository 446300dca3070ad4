"""MMEngine's visualizer for detection."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from mmengine.dist import master_only
from mmengine.structures import InstanceData
from mmengine.visualization import Visualizer

from ..datasets.metainfo import make_palette
from ..evaluation.samples import to_numpy
from ..registry import VISUALIZERS
from ..structures import DetDataSample
from .draw import draw_boxes, label_texts, write_rgb
from .skeletons import draw_skeletons


@VISUALIZERS.register_module()
class DetVisualizer(Visualizer):
    """Draws ground truth and predictions with class names and scores; persons as skeletons.

    Class names and colours come from ``dataset_meta``, which the runner sets.

    Args:
        name: Name of this visualizer.
        image: RGB image to begin with.
        vis_backends: Where scalars and images go (LocalVisBackend, TensorboardVisBackend).
        save_dir: Folder of the backends.
        line_width: Of the boxes. Default: grows with the image.
        text_height: Of the names, pixels. Default: grows with the image.
        min_side: Smaller images are enlarged by a whole factor until their longer side
            reaches this, so that names do not cover what they name.
    """

    def __init__(
        self,
        name: str = 'visualizer',
        image: np.ndarray | None = None,
        vis_backends: Sequence[dict] | None = None,
        save_dir: str | None = None,
        *,
        line_width: int | None = None,
        text_height: int | None = None,
        min_side: int = 384,
    ) -> None:
        super().__init__(
            name=name,
            image=image,
            vis_backends=list(vis_backends) if vis_backends is not None else None,
            save_dir=save_dir,
        )
        self.line_width = line_width
        self.text_height = text_height
        self.min_side = min_side
        # MMEngine's property of this name checks nothing and is set by the loops.
        self.dataset_meta: Mapping | None = None

    @master_only
    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample: DetDataSample | None = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0,
        out_file: str | None = None,
        pred_score_thr: float = 0.3,
        step: int = 0,
    ) -> None:
        """Draw a sample and hand the picture to a file or to the backends.

        Args:
            name: Name of the picture in the backends.
            image: RGB. Boxes are drawn as they are: the image has to be the one that
                they are in pixels of.
            data_sample: With ``gt_instances``, ``pred_instances`` or both.
            draw_gt: Draw the ground truth (left, where both are drawn).
            draw_pred: Draw the predictions.
            show: Open a window. Raises where there is no display.
            wait_time: Seconds to keep it open; 0 until a key is pressed.
            out_file: Write here instead of to the backends.
            pred_score_thr: Predictions below it are left out.
            step: Step of the picture in the backends.
        """
        factor = math.ceil(self.min_side / max(image.shape[:2]))
        if factor > 1:
            image = np.kron(image, np.ones((factor, factor, 1), image.dtype))
        panels = []
        if data_sample is not None:
            if draw_gt and 'gt_instances' in data_sample:
                panels.append(self._draw(image, data_sample.gt_instances, factor))
            if draw_pred and 'pred_instances' in data_sample:
                instances = data_sample.pred_instances
                panels.append(self._draw(image, instances, factor, pred_score_thr))
        drawn = np.hstack(panels) if panels else np.ascontiguousarray(image)
        self.set_image(drawn)
        if show:
            self.show(drawn, win_name=name, wait_time=wait_time)
        if out_file is not None:
            Path(out_file).parent.mkdir(parents=True, exist_ok=True)
            write_rgb(out_file, drawn)
        else:
            self.add_image(name, drawn, step)

    def _draw(
        self,
        image: np.ndarray,
        instances: InstanceData,
        factor: int,
        score_thr: float | None = None,
    ) -> np.ndarray:
        boxes, labels = to_numpy(instances.bboxes), to_numpy(instances.labels)
        scores, keep = None, np.arange(len(boxes))
        if score_thr is not None and 'scores' in instances:
            scores = to_numpy(instances.scores)
            keep = np.argsort(scores, kind='stable')  # the highest score is drawn last, on top
            keep = keep[scores[keep] >= score_thr]
            boxes, labels, scores = boxes[keep], labels[keep], scores[keep]
        if 'keypoints' in instances:
            return self._draw_persons(image, instances, factor, keep, scores)
        meta = self.dataset_meta or {}
        classes = meta.get('classes')
        palette = meta.get('palette') or make_palette(max(80, len(classes or ())))
        colours = [
            (int(r), int(g), int(b))
            for r, g, b in (palette[label % len(palette)] for label in labels.tolist())
        ]
        return draw_boxes(
            image,
            boxes * factor,
            texts=label_texts(labels, classes, scores),
            colours=colours,
            thickness=self.line_width,
            text_height=self.text_height,
        )

    def _draw_persons(
        self,
        image: np.ndarray,
        instances: InstanceData,
        factor: int,
        keep: np.ndarray,
        scores: np.ndarray | None,
    ) -> np.ndarray:
        """Skeletons in place of boxes; the most certain person on top."""
        found = 'keypoints_visible' if scores is None else 'keypoint_scores'
        seen = to_numpy(instances[found])
        order = keep[::-1]
        return draw_skeletons(
            image,
            to_numpy(instances.keypoints)[order] * factor,
            seen[order],
            limbs=(self.dataset_meta or {}).get('skeleton'),
            texts=[] if scores is None else [f'{score:.0%}' for score in scores[::-1]],
            thickness=self.line_width,
            text_height=self.text_height,
        )
