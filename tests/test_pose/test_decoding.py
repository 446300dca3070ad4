"""From maps back to persons: true maps, MMPose's answers, and what broke others."""

import numpy as np
import pytest
import torch

from registry_losses.errors import ConfigError
from registry_losses.pose.peaks import find_peaks

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
