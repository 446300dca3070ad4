"""Handwritten digits on textured canvases: a detection data set that needs no download."""

from typing_extensions import Unpack

from ..registry import DATASETS
from .digits_render import DigitsSpec
from .digits_store import prepare_digits
from .drawn import DrawnDataset
from .metainfo import DIGIT_CLASSES, make_palette
from .options import DatasetOptions


@DATASETS.register_module()
class DigitsDataset(DrawnDataset):
    """Ten classes of real handwritten digits, 0 to 10 an image, drawn on first use.

    The images are written once, as PNG and COCO json, below ``data_root``; then this is
    an ordinary :class:`CocoDataset` over them.

    Train and val images are drawn from disjoint handwritten samples. Digits may overlap;
    at least 80 % of each one's ink is visible, and its box is the extent of what is.

    Args:
        split: ``'train'`` or ``'val'``.
        data_root: Folder of the data; made when missing or made from other numbers.
        seed: Seed of the images.
        num_train: Training images.
        num_val: Validation images.
        progress: Show a progress bar while drawing.
        **common: What data sets have in common, see :class:`DatasetOptions`.

    Raises:
        ValueError: On any other split.

    Source of the digits: Alpaydin and Kaynak, "Optical Recognition of Handwritten
    Digits", UCI Machine Learning Repository, 1998, as shipped with scikit-learn.
    """

    METAINFO: dict = dict(classes=DIGIT_CLASSES, palette=make_palette(len(DIGIT_CLASSES)))

    def __init__(
        self,
        split: str = 'train',
        data_root: str = 'data/digits',
        *,
        seed: int = 0,
        num_train: int = 2000,
        num_val: int = 250,
        progress: bool = True,
        **common: Unpack[DatasetOptions],
    ) -> None:
        self.spec = DigitsSpec(seed=seed, num_train=num_train, num_val=num_val)
        super().__init__(split, data_root, progress=progress, **common)

    def draw(self) -> None:
        """See :func:`prepare_digits`."""
        prepare_digits(self.data_root, self.spec, progress=self.progress)
