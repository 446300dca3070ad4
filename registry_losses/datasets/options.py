"""The arguments that every data set takes beside what it reads, written once.

A data set names its own arguments and passes these on::

    def __init__(self, split='train', *, progress=True, **common: Unpack[DatasetOptions]):
        super().__init__(f'annotations/{split}.json', **common)

An unknown key still fails by name, when the config is read and when a data set is made.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from typing_extensions import TypedDict

from .class_names import Missing


class DatasetOptions(TypedDict, total=False):
    """What :class:`DetDataset` takes beside files and folders, and says more about.

    Attributes:
        metainfo: ``classes`` and ``palette`` that replace the defaults.
        filter_cfg: Which images training leaves out.
        indices: Keep the first n (last n if negative) or the listed samples.
        serialize_data: Hold the list as bytes that worker processes share.
        pipeline: Transforms.
        test_mode: Keep every image and fail on one that cannot be used.
        lazy_init: Do not read the annotations yet.
        max_refetch: How many other samples to try when a transform returns None.
        backend_args: Passed to ``mmengine.fileio``.
        check_images: Look for every image file when the annotations are read.
        strict: Raise where an annotation would be dropped.
        missing_classes: What a chosen class is that the files do not have.
    """

    metainfo: Mapping | None
    filter_cfg: Mapping[str, Any] | None
    indices: int | Sequence[int] | None
    serialize_data: bool
    pipeline: Sequence[dict | Callable]
    test_mode: bool
    lazy_init: bool
    max_refetch: int
    backend_args: Mapping | None
    check_images: bool
    strict: bool
    missing_classes: Missing | None
