"""Decodes image files: whole ones only, and in the orientation that the boxes mean."""

from __future__ import annotations

from collections.abc import Mapping

import mmcv
import numpy as np
from mmengine import fileio

from ..errors import DamagedImageError

# The flag that turns the image by its EXIF tag, or does not, instead of the given one.
_OTHER_ORIENTATION = {
    'color': 'color_ignore_orientation',
    'grayscale': 'grayscale_ignore_orientation',
    'color_ignore_orientation': 'color',
    'grayscale_ignore_orientation': 'grayscale',
}


def read_image(
    path: str,
    *,
    flag: str = 'color',
    decoder: str = 'cv2',
    size: tuple[int, int] | None = None,
    backend_args: Mapping | None = None,
) -> tuple[np.ndarray, bool]:
    """An image file as an array ``(H, W)`` or ``(H, W, 3)``, BGR, and if EXIF turned it.

    Args:
        path: The file.
        flag: See ``mmcv.imfrombytes``. ``'color'`` turns the image as its EXIF tag says.
        decoder: ``'cv2'``, ``'pillow'``, ``'turbojpeg'`` or ``'tifffile'``.
        size: (height, width) that the annotations note. An image that only fits it
            turned by its EXIF tag, or only without, is read that way.
        backend_args: Passed to ``mmengine.fileio``.

    Raises:
        FileNotFoundError: If there is no such file.
        DamagedImageError: If it cannot be decoded, or was cut off.
    """
    content = fileio.get(path, backend_args=dict(backend_args) if backend_args else None)
    if is_cut_off(content):
        raise DamagedImageError(
            f'{path}: cannot be decoded: it was cut off after {len(content)} bytes; copy it again'
        )
    image = _decode(path, content, flag, decoder)
    if size is not None and image.shape[:2] != size and image.shape[:2] == size[::-1]:
        other = _OTHER_ORIENTATION.get(flag)
        turned = _decode(path, content, other, decoder) if other else image
        if turned.shape[:2] == size:
            image, flag = turned, str(other)
    return image, flag in ('color', 'grayscale')


def _decode(path: str, content: bytes, flag: str, decoder: str) -> np.ndarray:
    try:
        image = mmcv.imfrombytes(content, flag=flag, backend=decoder)
    except Exception as error:  # each decoder has exceptions of its own
        raise DamagedImageError(f'{path}: cannot be decoded: {error}') from error
    if image is None or not image.size:
        raise DamagedImageError(f'{path}: cannot be decoded: no image in it')
    return image


def is_cut_off(content: bytes) -> bool:
    """Whether a JPEG or PNG lacks its end; decoders return such images in part.

    A JPEG ends with an end marker after its last scan; thumbnails in its head have scans
    and end markers of their own, which come before.
    """
    if content.startswith(b'\xff\xd8'):
        return content.rfind(b'\xff\xd9') < content.rfind(b'\xff\xda')
    if content.startswith(b'\x89PNG'):
        return b'IEND' not in content[-4096:] and b'IEND' not in content
    return False
