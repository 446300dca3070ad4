"""From arrays to tensors and the data sample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import InstanceData

from ..registry import TRANSFORMS
from ..structures import DetDataSample

META_KEYS = (
    'img_id',
    'img_path',
    'ori_shape',
    'img_shape',
    'scale_factor',
    'pad_param',
    'flip',
    'flip_direction',
    'exif_turned',
)


@TRANSFORMS.register_module()
class PackDetInputs(BaseTransform):
    """Packs ``dict(inputs=(C, H, W) tensor, data_samples=DetDataSample)``.

    Instances flagged as ignored go to ``ignored_instances``, the others, with their
    weights and keypoints, to ``gt_instances``; what nobody annotated, where that is known by
    pixel, to ``ignored_mask (H, W)``. The image keeps its dtype: uint8 travels to the
    device in a quarter of the bytes.

    Args:
        meta_keys: Entries of the results kept as meta information, where present.
            ``scale_factor`` is (1.0, 1.0) where nothing was resized.
    """

    def __init__(self, meta_keys: Sequence[str] = META_KEYS) -> None:
        self.meta_keys = tuple(meta_keys)

    def transform(self, results: dict) -> dict:
        """Pack."""
        image = results['img']
        if image.ndim == 2:
            image = image[..., None]
        # A copy in any case: a flipped image of one pixel counts as contiguous, yet torch
        # refuses its negative strides.
        inputs = torch.from_numpy(image.transpose(2, 0, 1).copy())
        sample = DetDataSample()
        if 'gt_bboxes' in results:
            ignored = results.get('gt_ignore_flags')
            if ignored is None:
                ignored = np.zeros(len(results['gt_bboxes']), bool)
            sample.gt_instances = _instances(results, ~ignored)
            boxes = results['gt_bboxes'][ignored]
            sample.ignored_instances = InstanceData(
                bboxes=torch.from_numpy(boxes),
                labels=torch.from_numpy(results['gt_bboxes_labels'][ignored]),
            )
            if 'gt_in_mask' in results:
                sample.ignored_instances.in_mask = torch.from_numpy(results['gt_in_mask'][ignored])
        if 'gt_ignored_mask' in results:
            sample.ignored_mask = torch.from_numpy(results['gt_ignored_mask'] > 0)
        meta = {key: results[key] for key in self.meta_keys if key in results}
        if 'scale_factor' in self.meta_keys:
            meta.setdefault('scale_factor', (1.0, 1.0))
        sample.set_metainfo(meta)
        return dict(inputs=inputs, data_samples=sample)


def _instances(results: dict, keep: np.ndarray) -> InstanceData:
    fields = dict(
        bboxes=torch.from_numpy(results['gt_bboxes'][keep].astype(np.float32, copy=False)),
        labels=torch.from_numpy(results['gt_bboxes_labels'][keep]),
    )
    if 'gt_weights' in results:
        fields['weights'] = torch.from_numpy(results['gt_weights'][keep])
    if 'gt_keypoints' in results:
        fields['keypoints'] = torch.from_numpy(results['gt_keypoints'][keep])
        fields['keypoints_visible'] = torch.from_numpy(results['gt_keypoints_visible'][keep])
    if 'gt_in_mask' in results:
        fields['in_mask'] = torch.from_numpy(results['gt_in_mask'][keep])
    return InstanceData(**fields)
