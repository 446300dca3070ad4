"""Frames of video files, and videos of drawn frames, by OpenCV.

Frames are arrays ``(H, W, 3)`` uint8 in BGR.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from ..errors import DataError


class VideoReader:
    """The frames of a video file, one after the other.

    Args:
        path: The file.
        every: Give each such frame: 1 for all, 10 for the first, the eleventh ...

    Raises:
        DataError: If OpenCV cannot open it.
    """

    def __init__(self, path: Path, *, every: int = 1) -> None:
        self.path, self.every = path, every
        self._capture = cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            raise DataError(f'{path}: cannot be read as a video')
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if 0 < rate < 1000 else 25.0
        """Frames a second."""
        self.count = max(int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
        """Frames as the file says; 0 where it does not."""

    def __len__(self) -> int:
        """How many frames it gives, by what the file says."""
        return -(-self.count // self.every)

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        """Number and pixels of each frame.

        Raises:
            DataError: If there is no frame, or it breaks off before the last tenth.
        """
        index = 0
        try:
            while self._capture.grab():
                if index % self.every == 0:
                    whole, frame = self._capture.retrieve()
                    if not whole or frame is None:
                        break
                    yield index, frame
                index += 1
        finally:
            self._capture.release()
        if index == 0 or index < 0.9 * self.count:
            raise DataError(f'{self.path}: breaks off after frame {index} of {self.count}')


class VideoWriter:
    """A video of frames of one size, MPEG-4; used in a ``with`` block.

    Args:
        path: ``.mp4`` to write; its folder is made.
        rate: Frames a second.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self.path, self.rate = path, rate
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)

    def __enter__(self) -> VideoWriter:
        return self

    def add(self, frame: np.ndarray) -> None:
        """Append a frame; odd sides lose a pixel, which the format asks for.

        Raises:
            DataError: If OpenCV cannot write this format.
        """
        if self._writer is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._size = (frame.shape[1] // 2 * 2, frame.shape[0] // 2 * 2)
            code = cv2.VideoWriter.fourcc(*'mp4v')
            self._writer = cv2.VideoWriter(str(self.path), code, self.rate, self._size)
            if not self._writer.isOpened():
                raise DataError(f'{self.path}: this OpenCV cannot write MPEG-4; try --no-pictures')
        width, height = self._size
        self._writer.write(np.ascontiguousarray(frame[:height, :width]))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._writer.release()
