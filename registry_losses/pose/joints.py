"""The joints of persons as instances, and back: from samples to GroundTruth to a table.

Shapes: B images, M gts (padded), P persons of an image (padded), V joints.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from ..errors import DataError
from ..structures import GroundTruth
from ..structures.ground_truth import fill_weights
from ..structures.skeleton import Skeleton


@dataclass(frozen=True, eq=False)
class JointTable:
    """Where each joint of each person is.

    Args:
        points: ``(B, P, V, 2)`` x, y in pixels.
        labelled: ``(B, P, V)`` bool, which of them are known.
    """

    points: Tensor
    labelled: Tensor

    @property
    def num_persons(self) -> int:
        """P, padded."""
        return self.points.shape[1]


def joint_table(gt: GroundTruth, num_joints: int, num_persons: int | None = None) -> JointTable:
    """The joints of ``gt`` by person.

    Args:
        gt: Its ``groups`` say whose joint an instance is, its labels which joint.
        num_joints: V.
        num_persons: P; None finds it out, which waits for the device.
    """
    if num_persons is None:
        num_persons = int(gt.groups.max()) + 1 if gt.groups.numel() else 0  # sync
    b = gt.batch_size
    known = gt.valid & (gt.groups >= 0) & (gt.groups < num_persons)
    place = (gt.groups * num_joints + gt.labels).clamp(min=0)
    # A joint that is not known goes to one place too many, which is cut off.
    size = num_persons * num_joints
    place = torch.where(known, place, size)
    points = gt.points.new_zeros(b, size + 1, 2)
    points = points.scatter(1, place[..., None].expand(-1, -1, 2), gt.points)[:, :size]
    labelled = known.new_zeros(b, size + 1).scatter(1, place, known)[:, :size]
    shape = (b, num_persons, num_joints)
    return JointTable(points.reshape(*shape, 2), labelled.reshape(shape))


def skeleton_joints(
    keypoints: Tensor, visible: Tensor, skeleton: Skeleton
) -> tuple[Tensor, Tensor]:
    """The joints of a skeleton out of the annotated ones; a neck is the shoulders' middle.

    Args:
        keypoints: ``(P, K, 2)``.
        visible: ``(P, K)``; above 0 where labelled.
        skeleton: Without ``sources`` the annotated joints are its joints.

    Returns:
        ``(P, V, 2)`` and ``(P, V)``; a joint made of others has their least visibility.

    Raises:
        DataError: If the annotations have fewer joints than the skeleton reads.
    """
    needed = 1 + max((j for s in skeleton.sources for j in s), default=skeleton.num_joints - 1)
    if keypoints.shape[1] < needed or (not skeleton.sources and keypoints.shape[1] != needed):
        raise DataError(
            f'keypoints: expected {needed} a person, which the skeleton reads, got '
            f'{keypoints.shape[1]}'
        )
    if not skeleton.sources:
        return keypoints, visible
    points = [keypoints[:, list(s)].mean(dim=1) for s in skeleton.sources]
    seen = [visible[:, list(s)].amin(dim=1) for s in skeleton.sources]
    return torch.stack(points, dim=1), torch.stack(seen, dim=1)


def joint_instances(
    samples: Sequence,
    skeleton: Skeleton,
    *,
    joint_scale: float = 0.25,
    min_side: float = 8.0,
    device: torch.device | str | None = None,
) -> GroundTruth:
    """Each labelled joint (v > 0) inside its image as an instance.

    Its label is the joint, its group the person, its point the exact place, and its box a
    square around it whose side follows the person's scale; it weighs what the person does.
    Where nothing is annotated, on crowds and on persons without a labelled joint, is an
    ignore region.

    Args:
        samples: B samples with ``gt_instances`` (bboxes, keypoints, keypoints_visible),
            ``ignored_instances``, ``ignored_mask`` (where it is known by pixel what nobody
            annotated) and ``img_shape``.
        skeleton: Which joints to make of the annotated ones.
        joint_scale: Side of a joint's box over the square root of its person's box area.
        min_side: Least side of a joint's box in pixels.
        device: Where the result lives; that of the samples by default.

    Raises:
        DataError: If a sample lacks keypoints or ``img_shape``; names the image.
    """
    persons = [_persons(sample, i) for i, sample in enumerate(samples)]
    if not persons:
        return GroundTruth.from_lists([], [], [], device=device)
    sizes = [tuple(sample.metainfo['img_shape'][:2]) for sample in samples]
    counts = [len(each.bboxes) for each in persons]
    # All persons of the batch at once: image by image would be some twenty calls each.
    joints, seen = skeleton_joints(
        torch.cat([each.keypoints.float() for each in persons]),
        torch.cat([each.keypoints_visible for each in persons]),
        skeleton,
    )
    boxes = torch.cat([each.bboxes.float().reshape(-1, 4) for each in persons])
    where = joints.device
    image = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts)).to(where)
    limit = torch.tensor(sizes, dtype=torch.float32).flip(1).to(where)[image]  # width, height
    labelled = (seen > 0) & ((joints >= 0) & (joints <= limit[:, None])).all(dim=-1)
    person, joint = labelled.nonzero(as_tuple=True)
    side = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=1).sqrt() * joint_scale
    half = side.clamp(min=min_side)[person, None] / 2
    at = joints[person, joint]
    number = torch.cat([torch.arange(n) for n in counts]).to(where)  # within the image
    in_image = torch.bincount(image[person], minlength=len(counts)).tolist()
    weights = [each.get('weights') for each in persons]
    filled = fill_weights(weights, [each.bboxes for each in persons])
    # What has a box but no joint is a person nobody annotated.
    masked = torch.cat([_in_mask(p, n, s) for p, n, s in zip(persons, counts, samples)])
    unlabelled = ~(seen > 0).any(dim=1) & ~masked
    regions = list(boxes[unlabelled].split(_counts(unlabelled, image, len(counts))))
    for i, sample in enumerate(samples):
        ignored = sample.get('ignored_instances')
        if ignored is not None and 'bboxes' in ignored and len(ignored.bboxes):
            crowds = ignored.bboxes.float().reshape(-1, 4)
            crowds = crowds[~_in_mask(ignored, len(crowds), sample)]
            regions[i] = torch.cat((regions[i], crowds))
    return GroundTruth.from_lists(
        torch.cat((at - half, at + half), dim=1).split(in_image),
        joint.split(in_image),
        sizes,
        ignore_boxes=regions,
        points=at.split(in_image),
        groups=number[person].split(in_image),
        ignore_mask=_ignore_mask(samples),
        weights=None if filled is None else torch.cat(filled).float()[person].split(in_image),
        device=device,
    )


def _persons(sample, index: int) -> InstanceData:
    """The annotated persons of a sample, checked."""
    name = sample.metainfo.get('img_path') or sample.metainfo.get('img_id', index)
    instances = sample.get('gt_instances')
    if instances is None or 'keypoints' not in instances or 'bboxes' not in instances:
        raise DataError(
            f'image {name}: gt_instances needs keypoints and bboxes to train; is '
            'LoadAnnotations set to with_keypoints=True?'
        )
    if 'img_shape' not in sample.metainfo:
        raise DataError(f'image {name}: the sample has no img_shape (height, width)')
    return instances


def _counts(chosen: Tensor, image: Tensor, num_images: int) -> list[int]:
    """How many of the persons of each image are chosen."""
    if not bool(chosen.any()):
        return [0] * num_images
    return torch.bincount(image[chosen], minlength=num_images).tolist()


def _in_mask(instances: InstanceData, count: int, sample) -> Tensor:
    """``(count,)`` bool, whose region the sample's mask shows, so that its box does not count."""
    if sample.get('ignored_mask') is None or 'in_mask' not in instances:
        return torch.zeros(count, dtype=torch.bool, device=instances.bboxes.device)
    return instances.in_mask


def _ignore_mask(samples: Sequence) -> Tensor | None:
    """``(B, H, W)`` bool out of the samples' ``ignored_mask``, where any has one."""
    masks = [sample.get('ignored_mask') for sample in samples]
    if all(mask is None for mask in masks):
        return None
    shapes = [sample.metainfo.get('batch_input_shape') for sample in samples]
    height = max(s[0] if s else m.shape[-2] for s, m in zip(shapes, masks) if s or m is not None)
    width = max(s[1] if s else m.shape[-1] for s, m in zip(shapes, masks) if s or m is not None)
    known = [mask for mask in masks if mask is not None]
    device = known[0].device if isinstance(known[0], Tensor) else None
    whole = torch.zeros(len(masks), height, width, dtype=torch.bool, device=device)
    for row, mask in zip(whole, masks):
        if mask is not None:
            row[: mask.shape[-2], : mask.shape[-1]] = torch.as_tensor(mask).bool()
    return whole
