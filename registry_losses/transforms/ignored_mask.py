"""The mask of what nobody annotated: crowds and persons without a joint, pixel by pixel.

``results['gt_ignored_mask']`` is ``(H, W)`` uint8 of the image's size, and
``results['gt_in_mask'] (n,)`` says of which instances the mask shows the region: their
boxes, which are larger, then do not count. An image without such a segmentation has
neither.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from ..errors import DataError


def load_ignored_mask(results: dict, instances: Sequence[dict], name: str) -> None:
    """Draw the mask out of the instances' ``segmentation``, of which there is at least one.

    Args:
        results: Gets the mask; its ``img_shape``, or ``height`` and ``width``, say how large.
        instances: Of crowds and persons without a joint; others have none.
        name: Of the image, for errors.
    """
    shown = np.array([bool(each.get('segmentation')) for each in instances], bool)
    size = results.get('img_shape') or (results['height'], results['width'])
    mask = np.zeros(size[:2], np.uint8)
    for instance in instances:
        if instance.get('segmentation'):
            mask |= decode_segmentation(instance['segmentation'], size[:2], name)
    results['gt_ignored_mask'], results['gt_in_mask'] = mask, shown


def decode_segmentation(segmentation: Any, size: Sequence[int], name: str = '') -> np.ndarray:
    """``(H, W)`` uint8 of COCO's polygons or run-length code.

    Raises:
        DataError: If it cannot be decoded, or has another size.
    """
    from faster_coco_eval.core import mask as coder

    height, width = size
    try:
        if isinstance(segmentation, dict) and isinstance(segmentation['counts'], str):
            code = {**segmentation, 'counts': segmentation['counts'].encode()}
        else:
            code = coder.frPyObjects(segmentation, height, width)
        decoded = coder.decode(coder.merge(code) if isinstance(code, list) else code)
    except Exception as error:  # of the compiled library, of whatever type
        raise DataError(f'{name}: the segmentation of a region is broken: {error}') from error
    if decoded.shape != (height, width):
        raise DataError(
            f'{name}: expected a segmentation of {height} x {width} (height x width), got '
            f'{decoded.shape[0]} x {decoded.shape[1]}'
        )
    return decoded


def change_mask(results: dict, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Do to the mask, where there is one, what was done to the image."""
    if 'gt_ignored_mask' in results:
        results['gt_ignored_mask'] = np.ascontiguousarray(change(results['gt_ignored_mask']))


def resize_mask(results: dict, width: int, height: int) -> None:
    """Each new pixel is the one its centre lies on."""
    change_mask(
        results,
        lambda mask: cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT),
    )


def pad_mask(results: dict, top: int, bottom: int, left: int, right: int) -> None:
    """New pixels are not in the mask."""
    change_mask(results, lambda mask: np.pad(mask, ((top, bottom), (left, right))))


def boxes_for_masks(results: dict) -> None:
    """Forget the mask: the boxes of its instances are the regions again.

    For transforms that put several images together.
    """
    results.pop('gt_ignored_mask', None)
    results.pop('gt_in_mask', None)
