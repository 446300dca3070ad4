"""Masks of crowds and of persons without a joint: from the json, with the image, to the losses."""

import json

import cv2
import numpy as np
import pytest
import torch
from faster_coco_eval.core import mask as coder

from registry_losses.datasets import CocoPoseDataset
from registry_losses.errors import DataError
from registry_losses.heads import AEHead, OpenPoseHead
from registry_losses.registry import MODELS
from registry_losses.transforms import Mosaic

HEIGHT, WIDTH = 96, 128
POLYGON = [[70.0, 20.0, 110.0, 30.0, 90.0, 70.0]]


def crowd_pixels():
    """Two stripes within a box that is mostly free."""
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[10:20, 5:60] = 1
    pixels[60:80, 20:40] = 1
    return pixels


def run_lengths(pixels):
    flat = pixels.reshape(-1, order='F')
    changes = np.flatnonzero(np.diff(flat)) + 1
    edges = np.concatenate([[0], changes, [flat.size]])
    counts = np.diff(edges).tolist()
    return [0, *counts] if flat[0] else counts


def polygon_pixels():
    """The usual way round: drawn by the library's own code, checked by area alone."""
    code = coder.frPyObjects(POLYGON, HEIGHT, WIDTH)
    return coder.decode(coder.merge(code))


def person(number, joints, **more):
    return dict(
        id=number, image_id=1, category_id=1, iscrowd=0, bbox=[60, 15, 60, 60], area=900,
        keypoints=joints, **more,
    )  # fmt: skip


def write(folder, form, **changed):
    """One image, white where nobody annotated, and its json."""
    pixels = crowd_pixels()
    if form == 'compressed':
        text = coder.encode(np.asfortranarray(pixels))['counts']
        counts = text.decode() if isinstance(text, bytes) else text
    else:
        counts = run_lengths(pixels)
    segmentation = dict(size=[HEIGHT, WIDTH], counts=counts, **changed)
    joints = [v for j in range(17) for v in (8 + 2 * j, 40 + 2 * j, 2)]
    annotations = [
        dict(
            id=1, image_id=1, category_id=1, iscrowd=1, bbox=[5, 10, 55, 70], area=950,
            segmentation=segmentation, keypoints=[0] * 51,
        ),
        person(2, [0] * 51, segmentation=POLYGON),
        dict(person(3, joints, segmentation=[[1, 1, 9, 1, 9, 9]]), bbox=[5, 35, 50, 50]),
    ]  # fmt: skip
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[(pixels | polygon_pixels()) > 0] = 255
    cv2.imwrite(str(folder / '1.png'), image)
    content = dict(
        images=[dict(id=1, file_name='1.png', height=HEIGHT, width=WIDTH)],
        annotations=annotations,
        categories=[dict(id=1, name='person', keypoints=[str(i) for i in range(17)])],
    )
    (folder / 'ann.json').write_text(json.dumps(content))


def dataset(folder, *transforms):
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_keypoints=True)]
    return CocoPoseDataset(
        ann_file=str(folder / 'ann.json'),
        data_prefix=dict(img=str(folder)),
        pipeline=[*pipeline, *transforms, dict(type='PackDetInputs')],
        test_mode=True,
    )


@pytest.mark.parametrize('form', ['compressed', 'counts'])
def test_masks_come_from_run_lengths_and_polygons(tmp_path, form):
    write(tmp_path, form)
    sample = dataset(tmp_path)[0]['data_samples']
    assert sample.ignored_mask.dtype == torch.bool
    np.testing.assert_array_equal(
        sample.ignored_mask.numpy(), (crowd_pixels() | polygon_pixels()) > 0
    )
    # A triangle of 900 square pixels, and not the person whose joints are known.
    assert abs(int(polygon_pixels().sum()) - 900) < 60
    assert sample.ignored_instances.in_mask.tolist() == [True]
    assert sample.gt_instances.in_mask.tolist() == [True, False]


TRANSFORMED = [
    dict(type='Resize', scale=(200, 120), keep_ratio=False),
    dict(type='Resize', scale_factor=0.5),
    dict(type='RandomFlip', prob=1.0),
    dict(type='RandomFlip', prob=1.0, direction='vertical'),
    dict(type='RandomFlip', prob=1.0, direction='diagonal'),
    dict(type='RandomAffine', max_rotate_degree=40, scaling_ratio_range=(0.7, 1.4),
         border_val=(0, 0, 0), min_bbox_size=0, min_area_ratio=0, max_aspect_ratio=1e6),
    dict(type='Pad', size=(160, 128)),
    dict(type='LetterResize', scale=(150, 150), pad_val=0),
    dict(type='RandomCenterCropPad', crop_size=(80, 100), ratios=(1.0,), border=16),
    dict(type='Expand', prob=1.0, ratio_range=(1.5, 1.5)),
]  # fmt: skip


@pytest.mark.parametrize('transform', TRANSFORMED, ids=lambda t: t['type'])
def test_the_mask_moves_with_the_image(tmp_path, transform):
    """The image is white where the mask is set, and stays so, but for the pixels of edges."""
    write(tmp_path, 'compressed')
    packed = dataset(tmp_path, transform)[0]
    white, mask = packed['inputs'][0].numpy() > 127, packed['data_samples'].ignored_mask.numpy()
    assert mask.shape == white.shape and mask.any() and not mask.all()
    edges = cv2.morphologyEx(white.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3))) > 0
    assert (white == mask)[~edges].all()
    assert (white != mask).mean() < 0.02


def test_of_several_images_put_together_the_boxes_are_left_out(tmp_path):
    write(tmp_path, 'compressed')
    node = dict(type='LoadAnnotations', with_keypoints=True)
    mosaic = Mosaic(img_scale=(WIDTH, HEIGHT), pre_transform=[dict(type='LoadImageFromFile'), node])
    sample = dataset(tmp_path, mosaic)[0]['data_samples']
    assert 'ignored_mask' not in sample and 'in_mask' not in sample.ignored_instances
    assert len(sample.ignored_instances.bboxes) >= 1


HEADS = {'AEHead': AEHead, 'OpenPoseHead': OpenPoseHead}


@pytest.mark.parametrize('name', HEADS)
def test_what_nobody_annotated_costs_nothing_in_any_loss(tmp_path, name):
    """At the maps' resolution: the pixel under each cell's centre says."""
    write(tmp_path, 'compressed')
    flip = dict(type='RandomFlip', prob=1.0)
    packed = dataset(tmp_path, flip)[0]
    preprocessor = MODELS.build(dict(type='DetDataPreprocessor', pad_size_divisor=64))
    batch = preprocessor(dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']]))
    options = dict(stages=[dict(kernels=(1,), channels=(8,))]) if name == 'OpenPoseHead' else {}
    head = HEADS[name](
        'coco_17',
        8,
        prior_generator=dict(type='MlvlPointGenerator', strides=[4]),
        train_cfg=dict(assigner=dict(type='GaussianAssigner', sigma=1.5, unbiased=True)),
        **options,
    )
    size = tuple(side // 4 for side in batch['inputs'].shape[-2:])
    assert size == (32, 32)
    shapes = dict(AEHead=[(1, 17), (1, 17)], OpenPoseHead=[(1, 1, 18), (1, 1, 38)])[name]
    maps = [torch.randn(*shape, *size).requires_grad_() for shape in shapes]
    losses = head.loss_by_feat(*((m,) for m in maps), batch_data_samples=batch['data_samples'])
    mask = packed['data_samples'].ignored_mask
    cells = torch.zeros(size, dtype=torch.bool)
    cells[: HEIGHT // 4, : WIDTH // 4] = mask[2::4, 2::4]
    assert 40 < int(cells.sum()) < 400
    for key, value in losses.items():
        if key in ('loss_pull', 'loss_push'):
            continue
        gradients = torch.autograd.grad(value, maps, retain_graph=True, allow_unused=True)
        moved = sum(g.abs().flatten(0, -3).sum(0) for g in gradients if g is not None)
        # Joints stand where they stand, whatever lies behind them.
        joints = torch.zeros(size, dtype=torch.bool)
        x, y = (packed['data_samples'].gt_instances.keypoints[1] / 4).long().unbind(1)
        joints[y, x] = True
        assert (moved[cells & ~joints] == 0).all(), key
        # The box around the crowd is not what is left out: most of it counts.
        counted = (moved[: HEIGHT // 4, : WIDTH // 4] > 0) | cells[: HEIGHT // 4, : WIDTH // 4]
        assert counted.all(), key


def test_images_of_other_sizes_share_a_batch(tmp_path):
    write(tmp_path, 'compressed')
    with_mask = dataset(tmp_path)[0]['data_samples']
    without = dataset(tmp_path, dict(type='Resize', scale_factor=0.5))[0]['data_samples']
    del without.ignored_mask
    head = AEHead('coco_17', 8, prior_generator=dict(type='MlvlPointGenerator', strides=[4]))
    mask = head.ground_truth([without, with_mask]).ignore_mask
    assert mask.shape == (2, HEIGHT, WIDTH) and not mask[0].any()
    assert (mask[1] == with_mask.ignored_mask).all()


def test_batches_of_random_size_take_the_mask_along(tmp_path):
    write(tmp_path, 'compressed')
    packed = dataset(tmp_path)[0]
    resize = MODELS.build(
        dict(type='BatchRandomResize', random_size_range=(192, 192), size_divisor=32)
    )
    inputs, samples = resize(packed['inputs'][None].float(), [packed['data_samples']])
    mask = samples[0].ignored_mask
    assert mask.shape == inputs.shape[-2:]
    assert ((inputs[0, 0] > 127) != mask).float().mean() < 0.02


@pytest.mark.parametrize(
    'changed, match',
    [
        (dict(size=[WIDTH, HEIGHT]), 'size'),
        (dict(counts=[3, 4]), 'pixels in all'),
        (dict(counts=7), 'counts'),
    ],
)
def test_a_wrong_code_is_refused_by_name(tmp_path, changed, match):
    write(tmp_path, 'compressed')
    content = json.loads((tmp_path / 'ann.json').read_text())
    content['annotations'][0]['segmentation'] |= changed
    (tmp_path / 'ann.json').write_text(json.dumps(content))
    with pytest.raises(DataError, match=match):
        dataset(tmp_path)[0]


@pytest.mark.parametrize('wrong', [[[1, 2, 3]], [[1, 2, 3, 4, 5, 'x']], 'text', [7]])
def test_a_wrong_polygon_is_refused(tmp_path, wrong):
    write(tmp_path, 'compressed')
    content = json.loads((tmp_path / 'ann.json').read_text())
    content['annotations'][1]['segmentation'] = wrong
    (tmp_path / 'ann.json').write_text(json.dumps(content))
    with pytest.raises(DataError, match=r'ann\.json.*polygons'):
        dataset(tmp_path)[0]


def test_unlabelled_joints_stay_unlabelled_whatever_moves_them(tmp_path):
    """Joints of v = 0 stand at (0, 0) in the json, which most transforms move into the image."""
    write(tmp_path, 'compressed')
    content = json.loads((tmp_path / 'ann.json').read_text())
    joints = np.array(content['annotations'][2]['keypoints']).reshape(17, 3)
    hidden = [0, 5, 6, 15]
    joints[hidden] = 0
    content['annotations'][2]['keypoints'] = joints.reshape(-1).tolist()
    (tmp_path / 'ann.json').write_text(json.dumps(content))
    head = OpenPoseHead(
        'openpose_18',
        8,
        stages=[dict(kernels=(1,), channels=(8,))],
        prior_generator=dict(type='MlvlPointGenerator', strides=[4]),
    )
    moved = 0
    for transform in [TRANSFORMED[i] for i in (1, 2, 5, 7)]:
        sample = dataset(tmp_path, transform)[0]['data_samples']
        flip = transform['type'] == 'RandomFlip'
        gone = {{5: 6, 6: 5, 15: 16}.get(j, j) for j in hidden} if flip else set(hidden)
        visible = sample.gt_instances.keypoints_visible[-1]
        assert set(np.flatnonzero(visible.numpy() == 0)) == gone, transform
        moved += int((sample.gt_instances.keypoints[-1][sorted(gone)] != 0).any())
        gt = head.ground_truth([sample])
        named = {head.skeleton.joints[v] for v in gt.labels[0][gt.valid[0]].tolist()}
        unlabelled = {head.skeleton.joints[v] for v in range(18)} - named
        # The neck is made of both shoulders.
        assert {'nose', 'left_shoulder', 'right_shoulder', 'neck'} <= unlabelled
        assert len(named) == 18 - 5
        priors = head.priors(((torch.zeros(1, 1, 40, 40),),))
        field = head.dense_targets(gt, priors)['field']
        for number, limb in enumerate(head.skeleton.limbs):
            on = bool(field[..., 2 * number : 2 * number + 2].abs().sum() > 0)
            ends = {head.skeleton.joints[j] for j in limb}
            assert on == (not ends & unlabelled), limb
    assert moved >= 2
