"""GroundTruth: the instances of a batch, padded to one shape.

Shapes: B images, M gts (padded), Mi ignore regions (padded), H x W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..errors import DataError, ShapeError, check_shape


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """The batch's instances, padded.

    For pose, each annotated joint is an instance: its label is the joint type, its
    box a square around it.

    Args:
        boxes: ``(B, M, 4)`` xyxy in pixels, float32.
        labels: ``(B, M)`` int64 in [0, C).
        valid: ``(B, M)`` bool, False for padding and for gts that cannot be found:
            wholly outside the image, inverted, or not finite.
        points: ``(B, M, 2)`` the position; the box centre, or the exact joint.
        groups: ``(B, M)`` int64, the person of a joint, -1 for none.
        ignore_boxes: ``(B, Mi, 4)`` regions neither object nor background.
        ignore_valid: ``(B, Mi)`` bool.
        ignore_mask: ``(B, H, W)`` bool or None, the same by pixel.
        image_sizes: ``(B, 2)`` height and width of the content of each image.
        weights: ``(B, M)`` float32, at least 0, how much each gt counts in the loss; None
            where all count 1. Which priors are positive does not depend on it, nor does
            what a loss is divided by.
    """

    boxes: Tensor
    labels: Tensor
    valid: Tensor
    points: Tensor
    groups: Tensor
    ignore_boxes: Tensor
    ignore_valid: Tensor
    image_sizes: Tensor
    ignore_mask: Tensor | None = None
    weights: Tensor | None = None

    def __post_init__(self) -> None:
        if self.boxes.dim() != 3 or self.boxes.shape[-1] != 4:
            raise ShapeError(f'gt.boxes: expected (B, M, 4), got {tuple(self.boxes.shape)}')
        b, m = self.boxes.shape[:2]
        for name, tail in (('labels', ()), ('valid', ()), ('points', (2,)), ('groups', ())):
            check_shape(f'gt.{name}', getattr(self, name), b, m, *tail)
        check_shape('gt.ignore_boxes', self.ignore_boxes, b, 'Mi', 4)
        check_shape('gt.ignore_valid', self.ignore_valid, b, self.ignore_boxes.shape[1])
        check_shape('gt.image_sizes', self.image_sizes, b, 2)
        if self.weights is not None:
            check_shape('gt.weights', self.weights, b, m)

    @property
    def batch_size(self) -> int:
        """B."""
        return self.boxes.shape[0]

    @property
    def max_gts(self) -> int:
        """M, the padded number of gts per image."""
        return self.boxes.shape[1]

    @property
    def device(self) -> torch.device:
        """Where the tensors live."""
        return self.boxes.device

    @property
    def areas(self) -> Tensor:
        """``(B, M)`` box areas in square pixels."""
        size = (self.boxes[..., 2:] - self.boxes[..., :2]).clamp(min=0)
        return size[..., 0] * size[..., 1]

    @classmethod
    def from_lists(
        cls,
        boxes: Sequence[Tensor],
        labels: Sequence[Tensor],
        image_sizes: Sequence[tuple[int, int]] | Tensor,
        *,
        ignore_boxes: Sequence[Tensor] | None = None,
        points: Sequence[Tensor] | None = None,
        groups: Sequence[Tensor] | None = None,
        ignore_mask: Tensor | None = None,
        weights: Sequence[Tensor] | None = None,
        device: torch.device | str | None = None,
    ) -> 'GroundTruth':
        """Pad per-image tensors into a batch.

        Args:
            boxes: B tensors ``(n_i, 4)`` xyxy pixels.
            labels: B tensors ``(n_i,)``.
            image_sizes: B pairs (height, width).
            ignore_boxes: B tensors ``(m_i, 4)``; none by default.
            points: B tensors ``(n_i, 2)``; the box centres by default.
            groups: B tensors ``(n_i,)``; -1 by default.
            ignore_mask: ``(B, H, W)`` bool.
            weights: B tensors ``(n_i,)``; all 1 by default.
            device: Target device; that of ``boxes`` by default.

        Raises:
            DataError: If an image has not as many labels, or weights, as boxes.
        """
        if len(boxes) != len(labels):
            raise DataError(f'{len(boxes)} images of boxes, but {len(labels)} of labels')
        for i, (b, names) in enumerate(zip(boxes, labels)):
            if b.numel() != 4 * names.numel():
                raise DataError(
                    f'image {i} of the batch: {b.numel() / 4:g} boxes but {names.numel()} labels'
                )
        for i, (b, weight) in enumerate(zip(boxes, weights or ())):
            if b.numel() != 4 * weight.numel():
                raise DataError(
                    f'image {i} of the batch: {b.numel() / 4:g} boxes but {weight.numel()} weights'
                )
        device = device or (boxes[0].device if len(boxes) else 'cpu')
        sizes = torch.as_tensor(image_sizes, dtype=torch.float32).reshape(len(boxes), 2)
        sizes = sizes.to(device)
        padded, valid = _pad([b.reshape(-1, 4).float() for b in boxes], device)
        if points is None:
            padded_points = (padded[..., :2] + padded[..., 2:]) / 2
        else:
            padded_points, _ = _pad([p.reshape(-1, 2).float() for p in points], device)
        if groups is None:
            padded_groups = padded.new_full(padded.shape[:2], -1, dtype=torch.long)
        else:
            padded_groups, _ = _pad([g.reshape(-1).long() for g in groups], device, value=-1)
        ignore_list = ignore_boxes or [b.new_zeros(0, 4) for b in boxes]
        ignore, ignore_valid = _pad([b.reshape(-1, 4).float() for b in ignore_list], device)
        padded_labels, _ = _pad([each.reshape(-1).long() for each in labels], device)
        return cls(
            boxes=padded,
            labels=padded_labels,
            valid=valid & findable(padded, sizes),
            points=padded_points,
            groups=padded_groups,
            ignore_boxes=ignore,
            ignore_valid=ignore_valid,
            ignore_mask=None if ignore_mask is None else ignore_mask.to(device),
            image_sizes=sizes,
            weights=_pad([w.reshape(-1).float() for w in weights], device)[0] if weights else None,
        )

    @classmethod
    def from_data_samples(
        cls, samples: Sequence, *, device: torch.device | str | None = None
    ) -> 'GroundTruth':
        """Pad the ``gt_instances`` and ``ignored_instances`` of a batch of samples.

        ``gt_instances.weights`` are optional, in each sample.

        Raises:
            DataError: If a sample lacks boxes, labels or ``img_shape``; names the image.
        """
        boxes, labels, ignore, sizes, weights = [], [], [], [], []
        for i, sample in enumerate(samples):
            name = sample.metainfo.get('img_path') or sample.metainfo.get('img_id', i)
            instances = sample.get('gt_instances')
            if instances is None or 'bboxes' not in instances or 'labels' not in instances:
                raise DataError(f'image {name}: gt_instances needs bboxes and labels to train')
            if 'img_shape' not in sample.metainfo:
                raise DataError(f'image {name}: the sample has no img_shape (height, width)')
            boxes.append(_plain(instances.bboxes))
            labels.append(instances.labels)
            weights.append(instances.get('weights'))
            sizes.append(tuple(sample.metainfo['img_shape'][:2]))
            ignored = sample.get('ignored_instances')
            has_ignored = ignored is not None and 'bboxes' in ignored
            ignore.append(_plain(ignored.bboxes) if has_ignored else boxes[-1].new_zeros(0, 4))
        return cls.from_lists(
            boxes,
            labels,
            sizes,
            ignore_boxes=ignore,
            weights=fill_weights(weights, boxes),
            device=device,
        )


def fill_weights(weights: Sequence[Tensor | None], boxes: Sequence[Tensor]) -> list[Tensor] | None:
    """B tensors ``(n_i,)`` of weights, 1 in images without; None where no image has any."""
    if all(weight is None for weight in weights):
        return None
    return [
        box.new_ones(len(box), dtype=torch.float32) if weight is None else torch.as_tensor(weight)
        for box, weight in zip(boxes, weights)
    ]


def findable(boxes: Tensor, image_sizes: Tensor) -> Tensor:
    """Whether a box can be found in its image.

    False for boxes wholly outside, inverted or not finite. A box of no area that lies
    on the border counts as inside; a box with area that only touches it does not.

    Args:
        boxes: ``(B, M, 4)`` xyxy pixels.
        image_sizes: ``(B, 2)`` height, width.

    Returns:
        ``(B, M)`` bool.
    """
    low, high = boxes[..., :2], boxes[..., 2:]
    limit = image_sizes.flip(-1)[:, None]  # (B, 1, 2) width, height
    inside = ((high > 0) | (low >= 0)) & ((low < limit) | (high <= limit))
    ordered = (high >= low) & torch.isfinite(low) & torch.isfinite(high)
    return (inside & ordered).all(dim=-1)


def _plain(boxes) -> Tensor:
    """The tensor inside an OpenMMLab box object, or the tensor itself."""
    return boxes if isinstance(boxes, Tensor) else boxes.tensor


def _pad(items: Sequence[Tensor], device, value: float = 0) -> tuple[Tensor, Tensor]:
    """Stack tensors of different length: ``(B, M, ...)`` and which entries are real."""
    lengths = torch.tensor([len(item) for item in items])
    if not len(items):
        return torch.zeros(0, 0, device=device), torch.zeros(0, 0, dtype=torch.bool, device=device)
    padded = pad_sequence(list(items), batch_first=True, padding_value=value).to(device)
    valid = torch.arange(padded.shape[1])[None] < lengths[:, None]
    return padded, valid.to(device)
