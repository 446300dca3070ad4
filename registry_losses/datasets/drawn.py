"""Data sets that are drawn on first use; see :mod:`.drawn_once` for how."""

from typing_extensions import Unpack

from .coco import CocoDataset
from .options import DatasetOptions


class DrawnDataset(CocoDataset):
    """A :class:`CocoDataset` over images that are drawn once, as PNG and COCO json.

    A subclass implements :meth:`draw`. Several processes may start together: one draws, the
    others wait for it.

    Args:
        split: ``'train'`` or ``'val'``.
        data_root: Folder of the data; made when missing or made from other numbers.
        progress: Show a progress bar while drawing.
        **common: What data sets have in common, see :class:`DatasetOptions`.

    Raises:
        ValueError: On any other split.
    """

    def __init__(
        self, split: str, data_root: str, *, progress: bool, **common: Unpack[DatasetOptions]
    ) -> None:
        if split not in ('train', 'val'):
            raise ValueError(f"split: expected 'train' or 'val', got {split!r}")
        self.progress = progress
        super().__init__(
            f'annotations/{split}.json',
            data_root=data_root,
            data_prefix=dict(img=f'{split}/'),
            **common,
        )

    def draw(self) -> None:
        """Make sure that the images and annotations of both splits are there."""
        raise NotImplementedError

    def load_data_list(self) -> list[dict]:
        """Draw the images if need be, then read the json."""
        self.draw()
        return super().load_data_list()
