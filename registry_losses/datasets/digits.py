"""Handwritten digits on textured canvases: a detection data set that needs no download."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..registry import DATASETS
from .coco import CocoDataset
from .digits_render import DigitsSpec
from .digits_store import prepare_digits
from .metainfo import DIGIT_CLASSES, make_palette


@DATASETS.register_module()
class DigitsDataset(CocoDataset):
    """Ten classes of real handwritten digits, 0 to 10 an image, drawn on first use.

    The images are written once, as PNG and COCO json, below ``data_root``; then this is
    an ordinary :class:`CocoDataset` over them. Several processes may start together: one
    draws, the others wait for it.

    Train and val images are drawn from disjoint handwritten samples. Digits may overlap;
    at least 80 % of each one's ink is visible, and its box is the extent of what is.

    Args:
        split: ``'train'`` or ``'val'``.
        data_root: Folder of the data; made when missing or made from other numbers.
        seed: Seed of the images.
        num_train: Training images.
        num_val: Validation images.
        metainfo: A subset of the classes ``'0'`` to ``'9'``.
        filter_cfg: See :class:`DetDataset`.
        indices: Keep the first n (last n if negative) or the listed samples.
        serialize_data: Hold the list as bytes that worker processes share.
        pipeline: Transforms.
        test_mode: Keep every image.
        lazy_init: Draw and read later.
        max_refetch: How many other samples to try when a transform returns None.
        progress: Show a progress bar while drawing.

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
        metainfo: Mapping | None = None,
        filter_cfg: Mapping[str, Any] | None = None,
        indices: int | Sequence[int] | None = None,
        serialize_data: bool = True,
        pipeline: Sequence[dict | Callable] = (),
        test_mode: bool = False,
        lazy_init: bool = False,
        max_refetch: int = 1000,
        progress: bool = True,
    ) -> None:
        if split not in ('train', 'val'):
            raise ValueError(f"split: expected 'train' or 'val', got {split!r}")
        self.spec = DigitsSpec(seed=seed, num_train=num_train, num_val=num_val)
        self.progress = progress
        super().__init__(
            ann_file=f'annotations/{split}.json',
            metainfo=metainfo,
            data_root=data_root,
            data_prefix=dict(img=f'{split}/'),
            filter_cfg=filter_cfg,
            indices=indices,
            serialize_data=serialize_data,
            pipeline=pipeline,
            test_mode=test_mode,
            lazy_init=lazy_init,
            max_refetch=max_refetch,
        )

    def load_data_list(self) -> list[dict]:
        """Draw the images if need be, then read the json."""
        prepare_digits(self.data_root, self.spec, progress=self.progress)
        return super().load_data_list()
