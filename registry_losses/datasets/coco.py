"""Data sets in COCO's json format."""

from __future__ import annotations

from mmengine import fileio

from ..registry import DATASETS
from .base import DetDataset
from .class_names import with_palette as with_palette  # its place before
from .coco_reader import read_coco
from .metainfo import COCO_CLASSES, COCO_PERSON, make_palette


@DATASETS.register_module()
class CocoDataset(DetDataset):
    """Boxes, crowd regions and keypoints out of any COCO-format json.

    Each sample is ``dict(img_id, img_path, height, width, instances)``; an instance has
    ``bbox`` (xyxy, pixels, clipped to the image), ``bbox_label``, ``ignore_flag`` (1 for
    ``iscrowd`` or ``ignore``) and, where annotated, ``weight`` (how much the object
    counts in training) and ``keypoints`` ``[[x, y], ...]`` with ``keypoints_visible``.

    A file that cannot be used raises ``DataError`` naming the file, the image id and the
    annotation id: missing or broken json, unknown category, malformed box or flag,
    duplicate image id. Annotations that carry nothing (no area, outside the image, not
    finite, repetitions) are dropped, and one log line says how many, why and which.
    ``CocoMetric`` reads its file by the same rules.

    The arguments are those of :class:`DetDataset`: ``ann_file`` is the json,
    ``data_prefix=dict(img='train2017/')`` the folder of the images. Classes are matched
    by name and may be a subset of the file's; the default is COCO's 80.

    Source: https://cocodataset.org/#format-data.
    """

    METAINFO: dict = dict(classes=COCO_CLASSES, palette=make_palette(len(COCO_CLASSES)))

    with_regions = False

    def read_annotations(self) -> list[dict]:
        """Read the json; see :func:`read_coco` for what is checked."""
        content = read_coco(
            self.ann_file,
            self._metainfo['classes'],
            explicit_classes=self.explicit_classes,
            missing=self.missing_classes,
            strict=self.strict,
            with_regions=self.with_regions,
            backend_args=self.backend_args,
        )
        self.cat_ids: list = content.cat_ids
        self.problems = content.problems
        for image in content.images:
            name = image.pop('file_name')
            whole = '://' in name  # an address of its own
            image['img_path'] = name if whole else fileio.join_path(self.data_prefix['img'], name)
        return content.images


@DATASETS.register_module()
class CocoPoseDataset(CocoDataset):
    """:class:`CocoDataset` of persons with COCO's 17 joints.

    Its ``metainfo`` has what flips, metrics and pictures ask for: ``flip_indices``,
    ``sigmas``, ``skeleton``. Crowds and persons without a joint keep their ``segmentation``,
    of which ``LoadAnnotations`` makes the mask of what nobody annotated.

    Source: https://cocodataset.org/#keypoints-2020.
    """

    METAINFO: dict = COCO_PERSON
    with_regions = True
