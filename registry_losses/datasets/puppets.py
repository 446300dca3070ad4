"""Puppets: rendered people with COCO's 17 joints, a pose data set that needs no download."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..registry import DATASETS
from .coco import CocoPoseDataset
from .puppets_render import PuppetsSpec
from .puppets_store import prepare_puppets


@DATASETS.register_module()
class PuppetsDataset(CocoPoseDataset):
    """People in varied poses, sizes and colours who stand in each other's way.

    The images are written once, as PNG and COCO keypoint json, below ``data_root``; then
    this is an ordinary :class:`CocoPoseDataset` over them. Several processes may start
    together: one draws, the others wait for it.

    A body is a skeleton in space with the limits of human joints, clothed in balls and
    the hulls between them, painted from far to near. A joint is hidden (v = 1) where
    something that does not carry it is nearer, unlabelled (v = 0) outside the image. The
    area, which OKS counts in, is that of the silhouette as if nothing stood before it,
    inside the image.

    Args:
        split: ``'train'`` or ``'val'``.
        data_root: Folder of the data; made when missing or made from other numbers.
        spec: Entries of :class:`PuppetsSpec` that differ from its defaults: ``seed``,
            ``num_train``, ``num_val``, ``image_size``, ``max_persons``, ``cue`` ...
        metainfo: See :class:`CocoDataset`.
        filter_cfg: See :class:`DetDataset`.
        indices: Keep the first n (last n if negative) or the listed samples.
        serialize_data: Hold the list as bytes that worker processes share.
        pipeline: Transforms.
        test_mode: Keep every image.
        lazy_init: Draw and read later.
        max_refetch: How many other samples to try when a transform returns None.
        progress: Show a progress bar while drawing.

    Source: a design of this project.
    """

    def __init__(
        self,
        split: str = 'train',
        data_root: str = 'data/puppets',
        *,
        spec: Mapping[str, Any] | None = None,
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
        self.spec = PuppetsSpec(**(spec or {}))
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
        prepare_puppets(self.data_root, self.spec, progress=self.progress)
        return super().load_data_list()
