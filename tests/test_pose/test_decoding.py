"""From maps back to persons: true maps, MMPose's answers, and what broke others."""

import numpy as np
import pytest
import torch

from registry_losses.errors import ConfigError
from registry_losses.pose.limb_grouping import LimbGrouping, group_by_limbs
from registry_losses.pose.peaks import find_peaks
from registry_losses.pose.persons import Persons
from registry_losses.pose.tag_grouping import TagGrouping, group_by_tags

from .scenes import decode, embedding, golden, openpose, people, plain_skeleton, sample, true_maps

HEADS = {'AEHead': embedding, 'OpenPoseHead': openpose}


def case_name(value):
    return value.get('id', '')


def matched(found, persons):
    """Largest distance of any joint, each person compared with the nearest one found."""
    points = found.keypoints.numpy()
    gap = np.abs(points[:, None] - persons[None]).max((-1, -2))  # (found, persons)
    return gap.min(0)


@pytest.mark.parametrize('name', HEADS)
@pytest.mark.parametrize('count', [1, 3, 9])
def test_true_maps_give_the_persons_back(name, count):
    size = 256
    persons = people(count, size=size)
    found = decode(HEADS[name](), [sample(persons, size=size)], (64, 64))[0]
    assert len(found.scores) == count
    # Sub-cell refinement: far less than a cell of 4 pixels, where neighbours do not interfere.
    assert (matched(found, persons) < 0.6).all()
    assert (found.scores[:-1] >= found.scores[1:]).all()


@pytest.mark.parametrize('name', HEADS)
def test_fifty_persons(name):
    persons = people(50, size=1024)
    found = decode(
        HEADS[name](test_cfg=dict(max_persons=100, limit=60)),
        [sample(persons, size=1024)],
        (256, 256),
    )[0]
    assert len(found.scores) == 50 and (matched(found, persons) < 1).all()


@pytest.mark.parametrize('name', HEADS)
def test_images_without_persons(name):
    found = decode(HEADS[name](), [sample(np.zeros((0, 17, 2))), sample(people(1))])
    assert len(found[0].scores) == 0 and found[0].keypoints.shape == (0, 17, 2)
    assert found[0].bboxes.shape == (0, 4)
    assert len(found[1].scores) == 1


@pytest.mark.parametrize('name', HEADS)
def test_a_person_with_one_joint(name):
    visible = np.zeros((1, 17))
    visible[0, 9] = 2
    persons = people(1)
    found = decode(HEADS[name](), [sample(persons, visible)])[0]
    assert len(found.scores) == 1
    np.testing.assert_allclose(found.keypoints[0, 9], persons[0, 9], atol=0.3)
    assert (found.keypoint_scores[0] > 0).sum() == 1


@pytest.mark.parametrize('name', HEADS)
def test_identical_twins_at_one_spot_are_one(name):
    """Their peaks are one, so one person is all that can be found."""
    persons = np.repeat(people(1), 2, axis=0)
    found = decode(HEADS[name](), [sample(persons)])[0]
    assert len(found.scores) == 1 and (matched(found, persons) < 0.6).all()


@pytest.mark.parametrize('name', HEADS)
def test_joints_on_the_last_pixel(name):
    persons = people(1)
    persons[0, 15], persons[0, 16] = [127.99, 127.99], [0.0, 127.99]
    found = decode(HEADS[name](), [sample(persons)])[0]
    # Beyond the last cell's centre there is nothing to refine by: half a cell at most.
    assert np.abs(found.keypoints[0].numpy() - persons[0]).max() <= 2.0


def hard_cases():
    """Images without persons, with one joint, with twins, with 50 persons, with joints on edges."""
    lone = np.zeros((1, 17))
    lone[0, 9] = 2
    edge = people(1)
    edge[0, :4] = [[127.99, 127.99], [0, 127.99], [127.99, 0], [128, 128]]
    return {
        'no person': sample(np.zeros((0, 17, 2))),
        'one joint': sample(people(1), lone),
        'twins': sample(np.repeat(people(1), 2, axis=0)),
        'fifty': sample(people(50)),
        'edges': sample(edge),
    }


@pytest.mark.parametrize('name', HEADS)
@pytest.mark.parametrize('case', hard_cases())
def test_hard_cases_train(name, case):
    """Finite losses and gradients, a joint on the last pixel among the positives."""
    torch.manual_seed(0)
    head = HEADS[name]()
    head.init_weights()
    shown = [hard_cases()[case]]
    losses = head.loss([torch.randn(1, 8, 32, 32)], shown)
    sum(losses.values()).backward()
    assert all(torch.isfinite(value) for value in losses.values())
    assert all(torch.isfinite(p.grad).all() for p in head.parameters())
    maps = ((torch.zeros(1, 17, 32, 32),),)
    gt = head.ground_truth(shown)
    pairs = head.assigner(head.priors(maps), gt, None)
    assert pairs.num_pairs == int(gt.valid.sum())
    if case == 'edges':
        assert {0, 31, 31 * 32, 32 * 32 - 1} - {0} <= set(pairs.prior.tolist())


@pytest.mark.parametrize('name', HEADS)
def test_decoding_is_in_float32_under_autocast_and_leaves_the_maps_alone(name):
    shown = [sample(people(3))]
    head = HEADS[name]()
    maps = true_maps(head, shown, (32, 32))
    kept = [m.clone() for part in maps for m in part]
    metas = [s.metainfo for s in shown]
    plain = head.predict_by_feat(*maps, batch_img_metas=metas)[0]
    with torch.autocast('cpu', dtype=torch.bfloat16):
        cast = head.predict_by_feat(*maps, batch_img_metas=metas)[0]
    assert cast.keypoints.dtype == torch.float32
    torch.testing.assert_close(cast.keypoints, plain.keypoints, rtol=0, atol=0)
    assert all((a == b).all() for a, b in zip(kept, [m for part in maps for m in part]))
    half = [tuple(m.bfloat16() for m in part) for part in maps]
    rough = head.predict_by_feat(*half, batch_img_metas=metas)[0]
    assert len(rough.scores) == 3 and rough.keypoints.dtype == torch.float32


@pytest.mark.parametrize('name', HEADS)
def test_maps_of_nothing_and_of_noise(name):
    """All zero, all equal, not a number: no NaN comes out."""
    head = HEADS[name]()
    shape = (1, 17, 32, 32)
    for value in (0.0, 0.5, float('nan')):
        first, second = torch.full(shape, value), torch.full((1, 17, 32, 32), value)
        if name == 'OpenPoseHead':
            first, second = (
                torch.full((1, 1, 18, 32, 32), value),
                torch.full((1, 1, 38, 32, 32), value),
            )
        found = head.predict_by_feat((first,), (second,), batch_img_metas=[{}])[0]
        assert torch.isfinite(found.keypoints).all() and torch.isfinite(found.scores).all()


def test_results_go_back_to_the_original_image():
    persons = people(2)
    shown = sample(persons)
    shown.set_metainfo(dict(scale_factor=(0.5, 2.0), pad_param=(4, 0, 8, 0)))
    head = openpose()
    maps = true_maps(head, [shown], (32, 32))
    found = head.predict_by_feat(*maps, batch_img_metas=[shown.metainfo], rescale=True)[0]
    expected = (persons - [8, 4]) / [0.5, 2.0]
    assert (matched(found, expected) < 1.5).all()
    low = found.keypoints.amin(1)
    torch.testing.assert_close(found.bboxes[:, :2], low, rtol=0, atol=1e-3)


@pytest.mark.parametrize('case, arrays', list(golden('pose_AECodecDecode')), ids=case_name)
def test_tags_group_as_mmpose(case, arrays):
    """Every joint that was a peak agrees.

    A joint that was looked for afterwards stands half a cell aside in MMPose, which adds
    its ``decode_center_shift`` to peaks alone; and under UDP, a Newton step from where there
    is no peak can go anywhere.
    """
    kwargs = case['kwargs']
    udp = kwargs['use_udp']
    stride = [(i - udp) / (h - udp) for i, h in zip(kwargs['input_size'], kwargs['heatmap_size'])]
    head = embedding(
        plain_skeleton(arrays['in_heatmaps'].shape[1]),
        stride,
        offset=0.0,
        test_cfg=dict(
            refinement='dark' if udp else 'quarter',
            center_shift=kwargs['decode_center_shift'],
            order=kwargs['decode_keypoint_order'],
            max_persons=kwargs['decode_max_instances'],
        ),
    )
    heat, tags = (torch.from_numpy(arrays[f'in_{k}']) for k in ('heatmaps', 'tags'))
    found = head.predict_by_feat((heat,), (tags,), batch_img_metas=[{}])[0]
    assert len(found.scores) == len(arrays['out_keypoints'])
    np.testing.assert_allclose(
        np.sort(found.scores.numpy()), np.sort(arrays['out_instance_scores']), atol=1e-5
    )
    gap = np.abs(found.keypoints.numpy()[:, None] - arrays['out_keypoints'][None]).max(-1)
    person = gap.sum(-1).argmin(0)
    gap = gap[person, np.arange(len(person))]
    peaks = arrays['out_scores'] > 0.99
    # A person made of what was left over has only one joint of its own.
    whole = arrays['out_instance_scores'] > 0.5
    np.testing.assert_allclose(gap[peaks & whole[:, None]], 0, atol=1e-4)
    assert gap[whole].max() <= 1.01


# Peaks --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'method, error', [('log_parabola', 1e-3), ('quarter', 0.26), ('none', 0.51)]
)
def test_refinement(method, error):
    """The centre of a Gaussian between cells, by how far each method can know it."""
    y, x = torch.meshgrid(torch.arange(20.0), torch.arange(20.0), indexing='ij')
    for cx, cy in ((7.3, 9.8), (10.0, 4.45), (12.74, 8.26)):
        heat = torch.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * 1.5**2))[None, None]
        peak = find_peaks(heat, refinement=method)
        assert len(peak.score) == 1
        assert (peak.position[0] - torch.tensor([cx, cy])).abs().max() < error


def test_equal_neighbours_are_one_peak():
    heat = torch.zeros(1, 1, 9, 9)
    heat[0, 0, 4, 4:6] = 1
    heat[0, 0, 5, 4] = 1
    peaks = find_peaks(heat, kernel=5, refinement='none')
    assert peaks.cell.tolist() == [[4, 4]]


def test_peaks_are_ordered_limited_and_above_the_threshold():
    heat = torch.zeros(2, 2, 16, 16)
    heat[0, 1, 2, 2], heat[0, 1, 9, 9], heat[0, 1, 2, 13] = 0.5, 0.9, 0.7
    heat[1, 0, 15, 15], heat[1, 0, 3, 3] = 0.3, 0.1
    peaks = find_peaks(heat, threshold=0.1, limit=2, refinement='none')
    assert peaks.image.tolist() == [0, 0, 1]
    assert peaks.joint.tolist() == [1, 1, 0]
    np.testing.assert_allclose(peaks.score, [0.9, 0.7, 0.3])
    assert peaks.cell.tolist() == [[9, 9], [13, 2], [15, 15]]


def test_settings_of_peaks_are_checked():
    with pytest.raises(ConfigError, match='odd'):
        find_peaks(torch.zeros(1, 1, 4, 4), kernel=4)
    heat = torch.zeros(1, 1, 4, 4)
    heat[0, 0, 1, 1] = 1
    with pytest.raises(ConfigError, match='refinement'):
        find_peaks(heat, refinement='half')
    with pytest.raises(ConfigError, match='nothing reads this key'):
        openpose(test_cfg=dict(treshold=0.1))


# Grouping -----------------------------------------------------------------------------


def fields_along(pairs, limbs, size=(24, 24)):
    """``(2 L, H, W)`` unit vectors in a band around given segments ``(limb, a, b)``."""
    from registry_losses.testing.reference.pose import limb_fields

    total = np.zeros((2 * len(limbs), *size), np.float32)
    for limb, a, b in pairs:
        one = limb_fields(
            np.array([[a, b]], float), np.ones((1, 2), bool), [(0, 1)], size, overhang=1.0
        )
        total[2 * limb : 2 * limb + 2] += one
    return total


def test_the_assignment_is_the_best_as_a_whole():
    """Taking the strongest pair first would leave the other two with a poor one."""
    joint = np.array([0, 0, 1, 1])
    position = np.array([[4, 4], [4, 8], [16, 4], [16, 8]], np.float32)
    limbs = [(0, 1)]
    fields = np.zeros((2, 24, 24), np.float32)
    fields[0] = 1.0  # everything points to the right
    persons = group_by_limbs(joint, position, np.ones(4, np.float32), fields, limbs, 2)
    assert len(persons) == 2
    assert {tuple(p[:, 1]) for p in persons.keypoints} == {(4.0, 4.0), (8.0, 8.0)}


def test_a_pair_that_would_give_two_heads_is_dropped_not_the_person():
    """0-1 and 1-2 of two persons, and a false 0-2 between them, weaker than the others."""
    limbs = [(0, 1), (1, 2), (0, 2)]
    joint = np.array([0, 0, 1, 1, 2, 2])
    position = np.array([[3, 3], [20, 3], [3, 10], [20, 10], [3, 18], [20, 18]], np.float32)
    pairs = [
        (0, (3, 3), (3, 10)),
        (0, (20, 3), (20, 10)),
        (1, (3, 10), (3, 18)),
        (1, (20, 10), (20, 18)),
    ]
    fields = fields_along(pairs, limbs)
    fields += 0.6 * fields_along([(2, (3, 3), (20, 18))], limbs)
    persons = group_by_limbs(joint, position, np.ones(6, np.float32), fields, limbs, 3)
    assert len(persons) == 2
    assert all(len({x for x, _ in person}) == 1 for person in persons.keypoints.tolist())


def test_a_shared_peak_keeps_a_person_whole():
    """The middle joints of two persons fall together: both have it, and what hangs on it.

    Joints: a head, two hands, the middle, a foot.
    """
    limbs = [(0, 1), (0, 2), (0, 3), (3, 4)]
    left, right = [[3, 8], [1, 12], [6, 12]], [[20, 8], [18, 12], [22, 12]]
    middle, feet = [12, 15], [[3, 22], [20, 22]]
    joint = np.array([0, 0, 1, 1, 2, 2, 3, 4, 4])
    points = [left[0], right[0], left[1], right[1], left[2], right[2], middle, *feet]
    pairs = [(0, p[0], p[1]) for p in (left, right)] + [(1, p[0], p[2]) for p in (left, right)]
    pairs += [(2, p[0], middle) for p in (left, right)] + [(3, middle, foot) for foot in feet]
    fields = fields_along(pairs, limbs)
    position, score = np.array(points, np.float32), np.ones(9, np.float32)
    persons = group_by_limbs(joint, position, score, fields, limbs, 5)
    assert len(persons) == 2 and (persons.keypoint_scores > 0).all()
    assert {tuple(p[4]) for p in persons.keypoints} == {(3.0, 22.0), (20.0, 22.0)}
    never = LimbGrouping(share_thr=1.0)
    alone = group_by_limbs(joint, position, score, fields, limbs, 5, never)
    assert not (alone.keypoint_scores > 0).all()


def test_a_fragment_does_not_borrow_a_body():
    """A false hand beside a whole person stays a hand."""
    limbs = [(0, 1), (0, 2), (0, 3), (3, 4)]
    whole = [[10, 4], [4, 8], [16, 8], [10, 12], [10, 20]]
    joint = np.array([0, 1, 1, 2, 3, 4])
    position = np.array([whole[0], whole[1], [4.0, 10.0], *whole[2:]], np.float32)
    pairs = [(i, whole[a], whole[b]) for i, (a, b) in enumerate(limbs)]
    fields = fields_along(pairs, limbs)
    persons = group_by_limbs(joint, position, np.ones(6, np.float32), fields, limbs, 5)
    assert (persons.keypoint_scores > 0).sum(1).max() == 5
    assert sorted((persons.keypoint_scores > 0).sum(1))[:-1] == [1]


def test_every_sample_decides_alike_however_few_are_read_first():
    rng = np.random.default_rng(0)
    joint = np.repeat([0, 1], 12)
    position = rng.uniform(0, 23, (24, 2)).astype(np.float32)
    fields = rng.normal(0, 0.6, (2, 24, 24)).astype(np.float32)
    for agreeing in (0.3, 0.5, 0.8, 1.0):
        settings = LimbGrouping(agreeing=agreeing, share_thr=1.0)
        found = group_by_limbs(
            joint, position, np.ones(24, np.float32), fields, [(0, 1)], 2, settings
        )
        pairs = {
            tuple(map(tuple, p))
            for p, s in zip(found.keypoints.tolist(), found.keypoint_scores)
            if (s > 0).all()
        }
        for (ax, ay), (bx, by) in pairs:
            length = np.hypot(bx - ax, by - ay)
            steps = np.linspace(0, 1, 10)
            x, y = (
                np.rint(ax + steps * (bx - ax)).astype(int),
                np.rint(ay + steps * (by - ay)).astype(int),
            )
            along = (fields[0, y, x] * (bx - ax) + fields[1, y, x] * (by - ay)) / length
            assert (along > 0.05).mean() >= agreeing - 1e-9


def test_tags_join_the_nearest_person_only_if_it_is_like():
    joint = np.array([0, 0, 1, 1, 2])
    tags = np.array([[0.0], [5.0], [4.8], [0.2], [9.0]])
    peaks, mean, count = group_by_tags(joint, np.zeros((5, 2)), np.ones(5), tags, 3)
    assert peaks.tolist() == [[0, 3, -1], [1, 2, -1], [-1, -1, 4]]
    np.testing.assert_allclose(mean[:, 0], [0.1, 4.9, 9.0])
    assert count.tolist() == [2, 2, 1]


def test_a_hopeless_pair_does_not_decide_about_a_good_one():
    """Two candidates, one person: the like one joins it, whatever the other costs."""
    joint = np.array([0, 0, 1, 1])
    tags = np.array([[0.0], [20.0], [1.0 - 1e-3], [21.5]])
    peaks, _, _ = group_by_tags(
        joint, np.zeros((4, 2)), np.ones(4), tags, 2, TagGrouping(tag_thr=1)
    )
    assert [0, 2] in peaks.tolist()


def test_boxes_of_persons():
    found = Persons(
        np.array([[[3, 4], [9, 2], [0, 0]], [[0, 0], [0, 0], [0, 0]]], np.float32),
        np.array([[0.5, 0.5, 0], [0, 0, 0]], np.float32),
        np.array([0.5, 0.1], np.float32),
    )
    assert found.boxes().tolist() == [[3, 2, 9, 4], [0, 0, 0, 0]]
