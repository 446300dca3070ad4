"""Pose targets: as plain loops have them, as MMPose has them, and where others went wrong."""

import numpy as np
import pytest
import torch

from registry_losses.heads.terms.pose_terms import nearest_priors
from registry_losses.pose.fields import flip_fields, limb_fields
from registry_losses.pose.joints import JointTable, joint_table, skeleton_joints
from registry_losses.structures.skeleton import COCO_17, OPENPOSE_18
from registry_losses.testing.reference import pose as reference

from .scenes import embedding, gaussian, golden, openpose, people, plain_skeleton, sample


def case_name(value):
    return value.get('id', '')


def table(points, labelled=None):
    points = torch.as_tensor(points, dtype=torch.float32)
    if labelled is None:
        labelled = torch.ones(points.shape[:-1], dtype=torch.bool)
    return JointTable(points[None], torch.as_tensor(labelled)[None])


def heatmaps(head, samples, size):
    """``(B, V, H, W)`` what the heatmap loss compares with."""
    gt = head.ground_truth(samples)
    maps = ((torch.zeros(len(samples), head.num_classes, *size),),)
    priors = head.priors(maps)
    targets = head.assigner(priors, gt, None).class_targets(gt, priors, head.num_classes)
    return targets.dense().reshape(len(samples), *size, -1).permute(0, 3, 1, 2).numpy()


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('overhang', [0.0, 1.0])
def test_fields_equal_plain_loops(seed, overhang):
    rng = np.random.default_rng(seed)
    points = rng.uniform(-2, 18, (2, 4, 5, 2))
    points[0, 1] = points[0, 0]  # twins
    points[1, 0, 1] = points[1, 0, 0]  # a limb without length
    points[0, 2, 3] = points[0, 2, 4] + [0, 5]  # upright
    labelled = rng.random((2, 4, 5)) < 0.8
    limbs = [(0, 1), (1, 2), (3, 4), (4, 0)]
    joints = JointTable(torch.tensor(points, dtype=torch.float32) * 4 + 2, torch.tensor(labelled))
    options = dict(half_width=1.3, overhang=overhang)
    maps = limb_fields(joints, limbs, (15, 16), stride=(4, 4), offset=0.5, **options)
    for image in range(2):
        expected = reference.limb_fields(points[image], labelled[image], limbs, (15, 16), **options)
        np.testing.assert_allclose(maps[image].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize('seed', range(2))
def test_heatmaps_equal_plain_loops(seed):
    """The last image's joints lie on the last pixels."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 64, (3, 5, 2))
    points[2, :2] = 63.9
    head = embedding(plain_skeleton(5))
    maps = heatmaps(head, [sample(points, size=64)], (16, 16))[0]
    expected = reference.gaussian_heatmaps(
        points / 4 - 0.5, np.ones((3, 5), bool), (16, 16), sigma=1.5
    )
    np.testing.assert_allclose(maps, expected, atol=1e-6)


def test_overlapping_gaussians_are_their_maximum_and_never_above_one():
    head = embedding(plain_skeleton(1))
    near = np.array([[[30.0, 30]], [[34.0, 30]], [[30.0, 30]]])
    maps = heatmaps(head, [sample(near)], (32, 32))
    alone = [heatmaps(head, [sample(p[None])], (32, 32)) for p in near]
    np.testing.assert_allclose(maps, np.max(alone, axis=0), atol=1e-6)
    assert maps.min() >= 0 and maps.max() <= 1


def test_every_limb_that_covers_a_pixel_counts():
    """Three limbs on a pixel, one of them to the left: the mean is (1 + 1 - 1) / 3."""
    points = [[[1, 5], [9, 5]], [[2, 5], [8, 5]], [[9, 5], [1, 5]]]
    field = limb_fields(table(points), [(0, 1)], (11, 11), offset=0.0)[0]
    assert field[0, 5, 5] == pytest.approx(1 / 3) and field[1, 5, 5] == 0
    # Opposite limbs cancel out, and still count as covering.
    field = limb_fields(table(points[1:]), [(0, 1)], (11, 11), offset=0.0)[0]
    assert (field[:, 5, 3:8] == 0).all()


def test_a_limb_without_length_gives_no_nan():
    field = limb_fields(table([[[4, 4], [4, 4]]]), [(0, 1)], (9, 9), offset=0.0)
    assert (field == 0).all()
    nearly = limb_fields(table([[[4, 4], [4, 4 + 1e-6]]]), [(0, 1)], (9, 9), overhang=1.0)
    assert torch.isfinite(nearly).all()


def test_limbs_of_unlabelled_joints_do_not_exist():
    labelled = [[True, False, True]]
    field = limb_fields(table([[[1, 1], [5, 5], [9, 1]]], labelled), [(0, 1), (1, 2)], (11, 11))
    assert (field == 0).all()


def test_a_flip_swaps_joints_limbs_and_the_sign_of_x():
    """Fields of the mirrored joints are the mirrored fields of the joints."""
    for skeleton in (COCO_17, OPENPOSE_18):
        rng = np.random.default_rng(1)
        points = torch.tensor(rng.uniform(0, 64, (1, 3, skeleton.num_joints, 2)).astype(np.float32))
        labelled = torch.tensor(rng.random((1, 3, skeleton.num_joints)) < 0.9)
        order = list(skeleton.flip_indices)
        mirrored = points * torch.tensor([-1.0, 1.0]) + torch.tensor([64.0, 0.0])
        options = dict(size=(16, 16), stride=(4.0, 4.0), half_width=1.0)
        plain = limb_fields(JointTable(points, labelled), skeleton.limbs, **options)
        flipped = limb_fields(
            JointTable(mirrored[:, :, order], labelled[:, :, order]), skeleton.limbs, **options
        )
        again = flip_fields(plain, skeleton.flipped_limbs())
        assert (again - flipped).abs().max() < 1e-4
        assert (plain.flip(-1) - flipped).abs().max() > 0.5  # a mirror alone is not enough


def test_the_mask_has_the_maps_resolution():
    """Crowds, and persons nobody annotated, at the centre of each cell of stride 4."""
    crowd = [[10.0, 20.0, 50.0, 61.0]]
    visible = np.full((2, 17), 2)
    visible[1] = 0
    persons = people(2)
    shown = sample(persons, visible, crowd=crowd)
    shown.gt_instances.bboxes[1] = torch.tensor([80.0, 70.0, 99.0, 127.0])
    head = openpose()
    maps = (torch.zeros(1, 1, 18, 32, 32),), (torch.zeros(1, 1, 38, 32, 32),)
    inputs = head.loss_inputs(maps, head.ground_truth([shown]))
    regions = np.array([*crowd, [80.0, 70.0, 99.0, 127.0]])
    expected = reference.region_mask(regions, (32, 32), 4)
    np.testing.assert_array_equal(inputs.region_ignored.reshape(32, 32).numpy(), expected)
    assert expected.sum() > 100


def test_what_is_masked_costs_nothing():
    shown = sample(people(1), crowd=[[0.0, 0.0, 128.0, 128.0]])
    head = openpose(joint_scale=0.2)
    noise = torch.randn(1, 1, 18, 32, 32), torch.randn(1, 1, 38, 32, 32)
    losses = head.loss_by_feat((noise[0],), (noise[1],), batch_data_samples=[shown])
    assert float(losses['loss_field']) == 0
    free = head.loss_by_feat((noise[0],), (noise[1],), batch_data_samples=[sample(people(1))])
    assert float(free['loss_field']) > 0.5


def test_instances_of_joints():
    """v = 0 is no instance, v = 1 is; outside the image there is none; persons are groups."""
    persons = people(2)
    visible = np.full((2, 17), 2)
    visible[0, 3], visible[1, 4] = 0, 1
    persons[1, 5] = [-3, 20]
    gt = embedding().ground_truth([sample(persons, visible)])
    assert int(gt.valid.sum()) == 2 * 17 - 2
    of_first = gt.labels[0][gt.valid[0] & (gt.groups[0] == 0)].tolist()
    assert of_first == [j for j in range(17) if j != 3]
    joints = joint_table(gt, 17)
    assert joints.labelled[0, 1, 4] and not joints.labelled[0, 1, 5]
    np.testing.assert_allclose(joints.points[0, 1, 6], persons[1, 6], atol=1e-5)


def test_a_neck_is_half_way_between_the_shoulders():
    points = torch.tensor(people(2), dtype=torch.float32)
    visible = torch.full((2, 17), 2.0)
    visible[1, 5] = 0
    joints, seen = skeleton_joints(points, visible, OPENPOSE_18)
    neck = OPENPOSE_18.joints.index('neck')
    torch.testing.assert_close(joints[:, neck], (points[:, 5] + points[:, 6]) / 2)
    assert seen[0, neck] == 2 and seen[1, neck] == 0
    assert joints.shape == (2, 18, 2)


@pytest.mark.parametrize('case, arrays', list(golden('pose_AECodecEncode')), ids=case_name)
def test_targets_equal_mmpose(case, arrays):
    """Heatmaps, and the cell at which each joint's tag is read."""
    kwargs = case['kwargs']
    width, height = kwargs['heatmap_size']
    udp = kwargs['use_udp']
    stride = (kwargs['input_size'][0] - udp) / (width - udp)
    keypoints, visible = arrays['in_keypoints'], arrays['in_visible']
    head = embedding(
        plain_skeleton(keypoints.shape[1]),
        stride,
        offset=0.0,
        train_cfg=dict(assigner=gaussian(case['used_sigma'], unbiased=udp)),
    )
    shown = sample(keypoints, visible, size=kwargs['input_size'][0])
    maps = heatmaps(head, [shown], (height, width))[0]
    # Two things that MMPose does near borders: what lies in the last half cell peaks off the
    # map, and where 3 sigma is no whole number the window is a cell longer to the left and to
    # the top, and the bump is displaced by a cell there.
    reach = 3 * case['used_sigma']
    cells = keypoints / stride
    low = 0.0 if reach % 1 == 0 else reach + 1
    usual = ((cells >= low) & (cells <= np.array([width, height]) - 1.5)).all(-1)
    compared = 0
    for v in range(keypoints.shape[1]):
        if (usual[:, v] | (visible[:, v] == 0)).all():
            expected = arrays['out_heatmaps'][v]
            expected = expected if reach % 1 == 0 else np.where(maps[v] == 0, 0, expected)
            np.testing.assert_allclose(maps[v], expected, atol=1e-5)
            compared += 1
    assert compared or len(keypoints) > 3
    # The tags are read where MMPose reads them.
    gt = head.ground_truth([shown])
    priors = head.priors(((torch.zeros(1, 1, height, width),),))
    cell = nearest_priors(priors, gt)[0]
    index, weight = arrays['out_keypoint_indices'], arrays['out_keypoint_weights']
    for place, person, joint, valid in zip(cell, gt.groups[0], gt.labels[0], gt.valid[0]):
        if valid and usual[person, joint] and index[person, joint, 1] and weight[person, joint]:
            assert int(place) == index[person, joint, 0] % (height * width)


def test_images_without_persons_have_targets():
    head = openpose()
    maps = heatmaps(head, [sample(np.zeros((0, 17, 2))), sample(people(1))], (32, 32))
    assert maps[0].max() == 0 and maps[1].max() > 0.9
    gt = head.ground_truth([sample(np.zeros((0, 17, 2)))])
    joints = joint_table(gt, 17)
    assert limb_fields(joints, COCO_17.limbs, (8, 8)).abs().max() == 0
