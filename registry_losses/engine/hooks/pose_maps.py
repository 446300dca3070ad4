"""A picture of what a pose estimator sees, at the end of a training and of a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from ...errors import RegistryLossesError
from ...evaluation.samples import to_numpy
from ...registry import HOOKS
from ...visualization.pose_maps import draw_fields, draw_heatmaps, draw_map_sheet, draw_tags
from ...visualization.skeletons import draw_skeletons


@HOOKS.register_module()
class PoseMapsHook(Hook):
    """Draws ``pose_maps.png``: persons as annotated and as found, heatmaps, fields or tags.

    The images with the most persons of the data set show best how persons who overlap are
    kept apart.

    Args:
        max_images: Rows of the picture.
        score_thr: Persons below it are not drawn.
        cell: Side of a panel in pixels.

    Source: a design of this project.
    """

    priority = 'LOWEST'

    def __init__(self, max_images: int = 6, score_thr: float = 0.15, cell: int = 384) -> None:
        self.max_images = max_images
        self.score_thr = score_thr
        self.cell = cell

    def after_train(self, runner: Any) -> None:
        """Of the validation data."""
        if is_main_process() and runner.val_dataloader is not None:
            self._draw(runner, runner.val_dataloader.dataset)

    def after_test(self, runner: Any) -> None:
        """Of the test data."""
        if is_main_process():
            self._draw(runner, runner.test_dataloader.dataset)

    def _draw(self, runner: Any, dataset: Any) -> None:
        # A picture that cannot be drawn is no reason to end a finished training in an error.
        model = getattr(runner.model, 'module', runner.model)
        path = Path(runner.work_dir) / 'pose_maps.png'
        try:
            rows = [self.row(model, dataset, i) for i in self.choose(dataset)]
            runner.logger.info(f'Maps: {draw_map_sheet(rows, path)}')
        except (RegistryLossesError, OSError) as error:
            runner.logger.warning(f'No picture of the maps: {error}')

    def choose(self, dataset: Any) -> list[int]:
        """The images with the most persons, in their order."""
        count = [
            sum(not i.get('ignore_flag') for i in dataset.get_data_info(k)['instances'])
            for k in range(len(dataset))
        ]
        fullest = np.argsort(-np.array(count), kind='stable')[: self.max_images]
        return sorted(fullest.tolist())

    @torch.no_grad()
    def row(self, model: Any, dataset: Any, index: int) -> dict[str, np.ndarray]:
        """The panels of one image, by title."""
        was_training = model.training
        model.eval()
        packed = dataset[index]
        data = model.data_preprocessor(pseudo_collate([packed]), False)
        maps = model(data['inputs'], mode='tensor')
        sample = data['data_samples'][0]
        found = model.head.predict_by_feat(*maps, batch_img_metas=[sample.metainfo])[0]
        parts = {name: to_numpy(m[0]) for name, m in model.head.readable_maps(maps).items()}
        model.train(was_training)
        height, width = packed['inputs'].shape[-2:]
        scale = self.cell / max(height, width)
        size = round(height * scale), round(width * scale)
        pixels = packed['inputs'].numpy().transpose(1, 2, 0)
        # Images are read as BGR.
        image = np.clip(pixels, 0, 255).astype(np.uint8)[..., ::-1]
        image = cv2.resize(np.ascontiguousarray(image), size[::-1], interpolation=cv2.INTER_CUBIC)
        whole = data['inputs'].shape[-2:]
        # The maps cover the padded input, the picture its image alone.
        parts = {name: _content(m, (height, width), whole) for name, m in parts.items()}
        gt = sample.gt_instances
        keep = to_numpy(found.scores) >= self.score_thr
        heat = parts['heatmap']
        panels = {
            'annotated': draw_skeletons(
                image, to_numpy(gt.keypoints) * scale, to_numpy(gt.keypoints_visible)
            ),
            'found': draw_skeletons(
                image,
                to_numpy(found.keypoints)[keep] * scale,
                to_numpy(found.keypoint_scores)[keep],
                texts=[f'{score:.0%}' for score in to_numpy(found.scores)[keep]],
            ),
            'heatmaps, all joints': draw_heatmaps(heat, image),
        }
        if 'field' in parts:
            panels['fields: direction by colour and arrow'] = draw_fields(parts['field'], size)
        if 'tags' in parts:
            tags = parts['tags'].reshape(-1, len(heat), *heat.shape[-2:])
            panels['tags of joints by colour'] = draw_tags(tags, heat, size)
        return panels


def _content(maps: np.ndarray, size: tuple[int, int], whole: Any) -> np.ndarray:
    height = max(1, round(maps.shape[-2] * size[0] / whole[0]))
    width = max(1, round(maps.shape[-1] * size[1] / whole[1]))
    return np.ascontiguousarray(maps[..., :height, :width], np.float32)
