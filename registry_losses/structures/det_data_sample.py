"""The sample that travels with an image from the data set to the metric."""

from mmengine.structures import BaseDataElement, InstanceData


class DetDataSample(BaseDataElement):
    """Annotations, predictions and meta information of one image.

    Named and shaped like OpenMMLab's sample of the same name, so that code written
    for it reads ours. Boxes are xyxy in pixels of the (transformed) image.

    Fields, each an ``InstanceData``:

    * ``gt_instances``: ``bboxes (n, 4)`` float32, ``labels (n,)`` int64, and for pose
      ``keypoints (n, V, 2)``, ``keypoints_visible (n, V)``.
    * ``ignored_instances``: ``bboxes (m, 4)``, regions that are neither object nor
      background (COCO's crowds).
    * ``ignored_mask``: ``(H, W)`` bool, pixels that nobody annotated, where a pose data set
      knows them; instances then say by ``in_mask (n,)`` whether it shows their region.
    * ``pred_instances``: ``bboxes (k, 4)``, ``scores (k,)``, ``labels (k,)``.

    Meta information set by the transforms: ``img_id``, ``img_path``, ``ori_shape``
    (h, w), ``img_shape`` (h, w), ``batch_input_shape`` (h, w), ``scale_factor`` (w, h).

    Example:
        >>> import torch
        >>> sample = DetDataSample(metainfo=dict(img_shape=(32, 48)))
        >>> sample.gt_instances = InstanceData(bboxes=torch.zeros(0, 4))
        >>> len(sample.gt_instances)
        0
    """

    @property
    def gt_instances(self) -> InstanceData:
        """The objects to find."""
        return self._gt_instances

    @gt_instances.setter
    def gt_instances(self, value: InstanceData) -> None:
        self.set_field(value, '_gt_instances', dtype=InstanceData)

    @gt_instances.deleter
    def gt_instances(self) -> None:
        del self._gt_instances

    @property
    def ignored_instances(self) -> InstanceData:
        """Regions that count neither as object nor as background."""
        return self._ignored_instances

    @ignored_instances.setter
    def ignored_instances(self, value: InstanceData) -> None:
        self.set_field(value, '_ignored_instances', dtype=InstanceData)

    @ignored_instances.deleter
    def ignored_instances(self) -> None:
        del self._ignored_instances

    @property
    def pred_instances(self) -> InstanceData:
        """What the detector found."""
        return self._pred_instances

    @pred_instances.setter
    def pred_instances(self, value: InstanceData) -> None:
        self.set_field(value, '_pred_instances', dtype=InstanceData)

    @pred_instances.deleter
    def pred_instances(self) -> None:
        del self._pred_instances
