"""Puppets: rendered people with COCO's 17 joints, a pose data set that needs no download."""

from collections.abc import Mapping
from typing import Any

from typing_extensions import Unpack

from ..registry import DATASETS
from .coco import CocoPoseDataset
from .drawn import DrawnDataset
from .options import DatasetOptions
from .puppets_render import PuppetsSpec
from .puppets_store import prepare_puppets


@DATASETS.register_module()
class PuppetsDataset(DrawnDataset, CocoPoseDataset):
    """People in varied poses, sizes and colours who stand in each other's way.

    The images are written once, as PNG and COCO keypoint json, below ``data_root``; then
    this is an ordinary :class:`CocoPoseDataset` over them.

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
        progress: Show a progress bar while drawing.
        **common: What data sets have in common, see :class:`DatasetOptions`.

    Raises:
        ValueError: On any other split.

    Source: a design of this project.
    """

    def __init__(
        self,
        split: str = 'train',
        data_root: str = 'data/puppets',
        *,
        spec: Mapping[str, Any] | None = None,
        progress: bool = True,
        **common: Unpack[DatasetOptions],
    ) -> None:
        self.spec = PuppetsSpec(**(spec or {}))
        super().__init__(split, data_root, progress=progress, **common)

    def draw(self) -> None:
        """See :func:`prepare_puppets`."""
        prepare_puppets(self.data_root, self.spec, progress=self.progress)
