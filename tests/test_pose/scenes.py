"""Scenes of joints for the pose tests."""

import json
from pathlib import Path

import numpy as np
import torch
from mmengine.structures import InstanceData

from registry_losses.heads import AEHead, OpenPoseHead
from registry_losses.structures import DetDataSample, GroundTruth
from registry_losses.structures.skeleton import COCO_17, Skeleton

DATA = Path(__file__).parents[1] / 'data' / 'components'


def golden(name):
    """``(case, arrays)`` of a golden file."""
    with np.load(DATA / f'{name}.npz') as file:
        for case in json.loads(str(file['params']))['cases']:
            yield case, {key: file[f'{case["id"]}/{key}'] for key in case['arrays']}


def plain_skeleton(num_joints, limbs=()):
    return Skeleton(
        joints=tuple(f'joint {i}' for i in range(num_joints)),
        limbs=tuple(limbs),
        flip_indices=tuple(range(num_joints)),
        sigmas=(0.1,) * num_joints,
    )


def sample(keypoints, visible=None, size=128, crowd=()):
    """A data sample of persons ``(n, V, 2)``."""
    points = torch.as_tensor(np.asarray(keypoints), dtype=torch.float32)
    seen = (
        torch.full(points.shape[:2], 2.0) if visible is None else torch.as_tensor(visible).float()
    )
    low = torch.where(seen[..., None] > 0, points, torch.inf).amin(1) - 2
    high = torch.where(seen[..., None] > 0, points, -torch.inf).amax(1) + 2
    boxes = torch.cat((low, high), 1).nan_to_num(0, size, 0)
    result = DetDataSample(metainfo=dict(img_shape=(size, size), img_id=0))
    result.gt_instances = InstanceData(
        bboxes=boxes.reshape(-1, 4),
        labels=torch.zeros(len(points), dtype=torch.long),
        keypoints=points,
        keypoints_visible=seen,
    )
    result.ignored_instances = InstanceData(
        bboxes=torch.as_tensor(crowd).float().reshape(-1, 4),
        labels=torch.zeros(len(crowd), dtype=torch.long),
    )
    return result


def people(n, seed=0, size=128):
    """``(n, 17, 2)`` upright persons apart from each other, as far as there is room."""
    rng = np.random.default_rng(seed)
    shape = np.array([
        [0, 0.05], [0.03, 0], [-0.03, 0], [0.07, 0.03], [-0.07, 0.03], [0.14, 0.2], [-0.14, 0.2],
        [0.2, 0.36], [-0.2, 0.36], [0.22, 0.52], [-0.22, 0.52], [0.09, 0.5], [-0.09, 0.5],
        [0.1, 0.75], [-0.1, 0.75], [0.1, 1.0], [-0.1, 1.0],
    ])  # fmt: skip
    columns = int(np.ceil(np.sqrt(n)))
    cell = size / columns
    result = []
    for i in range(n):
        at = np.array([i % columns + 0.5, i // columns + 0.1]) * cell
        result.append(at + shape * cell * 0.75 + rng.uniform(-0.3, 0.3, (17, 2)))
    return np.clip(np.array(result).reshape(n, 17, 2), 0, size - 0.01)


def openpose(skeleton=COCO_17, stride=4, **options):
    options.setdefault('test_cfg', dict(threshold=0.1, kernel=3))
    return OpenPoseHead(
        skeleton,
        8,
        stages=options.pop('stages', [dict(kernels=(3,), channels=(8,))]),
        prior_generator=dict(type='MlvlPointGenerator', strides=[stride]),
        train_cfg=options.pop('train_cfg', dict(assigner=gaussian())),
        **options,
    )


def embedding(skeleton=COCO_17, stride=4, **options):
    options.setdefault('test_cfg', dict(threshold=0.1, kernel=3))
    return AEHead(
        skeleton,
        8,
        prior_generator=dict(
            type='MlvlPointGenerator', strides=[stride], offset=options.pop('offset', 0.5)
        ),
        train_cfg=options.pop('train_cfg', dict(assigner=gaussian())),
        **options,
    )


def gaussian(sigma=1.5, unbiased=True):
    return dict(type='GaussianAssigner', sigma=sigma, unbiased=unbiased)


def true_maps(head, samples, size):
    """The maps that a perfect network would return, for a head of one resolution."""
    gt: GroundTruth = head.ground_truth(samples)
    v, b = head.num_classes, gt.batch_size
    empty = ((torch.zeros(b, v, *size),),)
    priors = head.priors(empty)
    targets = head.assigner(priors, gt, None).class_targets(gt, priors, v)
    heat = targets.dense().reshape(b, *size, v).permute(0, 3, 1, 2)
    if isinstance(head, OpenPoseHead):
        field = head.dense_targets(gt, priors)['field'].transpose(1, 2).reshape(b, -1, *size)
        background = 1 - heat.amax(1, keepdim=True)
        return (torch.cat((heat, background), 1)[None],), (field[None],)
    level = priors.levels[0]
    rows, columns = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing='ij')
    tags, nearest = torch.zeros_like(heat), torch.full_like(heat, torch.inf)
    for i, m in gt.valid.nonzero().tolist():
        x, y = gt.points[i, m] / torch.tensor(level.stride) - level.offset
        distance = (columns - x) ** 2 + (rows - y) ** 2
        closer = distance < nearest[i, gt.labels[i, m]]
        nearest[i, gt.labels[i, m]][closer] = distance[closer]
        tags[i, gt.labels[i, m]][closer] = 3.0 * gt.groups[i, m]
    return (heat,), (tags,)


def decode(head, samples, size=(32, 32)):
    maps = true_maps(head, samples, size)
    return head.predict_by_feat(*maps, batch_img_metas=[s.metainfo for s in samples])
