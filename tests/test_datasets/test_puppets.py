"""Puppets: drawn once, annotated as COCO has it, left and right kept apart."""

import json

import cv2
import numpy as np
import pytest

from registry_losses.datasets import PuppetsDataset, PuppetsSpec, prepare_puppets
from registry_losses.datasets.puppets_body import JOINT, JOINTS_ON, pose_body
from registry_losses.datasets.puppets_render import draw_image
from registry_losses.errors import DataError
from registry_losses.structures.skeleton import COCO_17, OPENPOSE_18

SMALL = dict(num_train=6, num_val=3, image_size=64)


def dataset(root, split='train', **spec):
    return PuppetsDataset(split, str(root / 'puppets'), spec={**SMALL, **spec}, progress=False)


def test_written_once_as_coco_keypoints(tmp_path):
    data = dataset(tmp_path)
    assert len(data) == 6 and data.metainfo['classes'] == ('person',)
    content = json.loads((tmp_path / 'puppets/annotations/train.json').read_text())
    assert content['categories'][0]['keypoints'] == list(COCO_17.joints)
    for ann in content['annotations']:
        joints = np.array(ann['keypoints']).reshape(17, 3)
        assert ann['num_keypoints'] == (joints[:, 2] > 0).sum()
        assert (joints[joints[:, 2] == 0] == 0).all()
        x, _y, w, h = ann['bbox']
        seen = joints[joints[:, 2] == 2]
        # What is seen lies on the silhouette, up to half a pixel of rounding.
        assert (seen[:, 0] >= x - 0.5).all() and (seen[:, 0] <= x + w + 0.5).all()
        assert 0 < ann['area'] <= w * h
    stamp = (tmp_path / 'puppets/stamp.json').stat().st_mtime_ns
    assert not prepare_puppets(tmp_path / 'puppets', PuppetsSpec(**SMALL), progress=False)
    dataset(tmp_path, 'val')
    assert (tmp_path / 'puppets/stamp.json').stat().st_mtime_ns == stamp
    image = cv2.imread(str(tmp_path / 'puppets/train/000003.png'))[..., ::-1]
    assert (image == draw_image(PuppetsSpec(**SMALL), 'train', 3).image).all()


def test_other_numbers_are_drawn_anew_and_foreign_files_stay(tmp_path):
    dataset(tmp_path)
    assert len(dataset(tmp_path, num_train=4)) == 4
    foreign = tmp_path / 'mine'
    foreign.mkdir()
    (foreign / 'photo.jpg').write_bytes(b'1')
    with pytest.raises(DataError, match='expected puppets written by this package'):
        prepare_puppets(foreign, PuppetsSpec(**SMALL), progress=False)


def test_an_image_depends_on_its_number_alone():
    spec = PuppetsSpec(**SMALL)
    first, again = draw_image(spec, 'val', 2), draw_image(spec, 'val', 2)
    assert (first.image == again.image).all() and (first.keypoints == again.keypoints).all()
    assert (first.image != draw_image(spec, 'train', 2).image).any()
    assert (first.image != draw_image(PuppetsSpec(**SMALL, seed=1), 'val', 2).image).any()


def test_flags_say_what_is_hidden_and_what_is_outside():
    flags, counts = [], []
    for index in range(40):
        drawn = draw_image(PuppetsSpec(max_persons=3, num_train=40), 'train', index)
        flags.append(drawn.keypoints[..., 2].reshape(-1))
        counts.append(len(drawn.boxes))
        inside = drawn.keypoints[drawn.keypoints[..., 2] > 0][:, :2]
        assert (inside >= 0).all() and (inside < 128).all()
    shares = [float((np.concatenate(flags) == v).mean()) for v in (0, 1, 2)]
    assert 0.005 < shares[0] < 0.06 and 0.15 < shares[1] < 0.4 and shares[2] > 0.5, shares
    assert set(counts) == {1, 2, 3}


def test_a_lone_person_seen_from_the_front_hides_little():
    """The shoulder on its own arm is seen; a joint behind the trunk is not."""
    assert 'torso' not in JOINTS_ON['left_wrist'] and 'torso' in JOINTS_ON['left_hip']
    spec = PuppetsSpec(max_persons=1, min_height=0.7)
    seen = [draw_image(spec, 'train', i).keypoints for i in range(30)]
    shoulders = np.concatenate(seen)[:, [JOINT['left_shoulder'], JOINT['right_shoulder']], 2]
    assert (shoulders == 2).mean() > 0.85


def test_left_is_left():
    """Of persons who face the viewer the left shoulder is on the viewer's right."""
    rng = np.random.default_rng(0)
    right = 0
    for _ in range(60):
        joints, _ = pose_body(rng)
        facing = joints[JOINT['nose'], 2] > joints[[JOINT['left_ear'], JOINT['right_ear']], 2].max()
        across = joints[JOINT['left_shoulder'], 0] - joints[JOINT['right_shoulder'], 0]
        trunk_facing = np.cross(
            joints[JOINT['left_shoulder']] - joints[JOINT['right_shoulder']],
            joints[JOINT['left_hip']] - joints[JOINT['left_shoulder']],
        )[2]
        assert (across > 0) == (trunk_facing > 0)
        right += facing and across > 0
    assert right > 20


@pytest.mark.parametrize('cue', ['coded', 'shaded'])
def test_the_cue_tells_left_from_right(cue):
    """Left and right upper arms differ in colour by the cue, within one person."""
    from registry_losses.datasets.puppets_scene import part_colours

    colours = part_colours(np.random.default_rng(3), cue)
    left, right = colours['left_upper_arm'], colours['right_upper_arm']
    assert np.abs(left - right).max() > 20
    if cue == 'shaded':
        np.testing.assert_allclose(left, 0.55 * right)


def test_a_crowd_is_annotated_as_a_region(tmp_path):
    data = dataset(tmp_path, crowd=1.0)
    for i in range(len(data)):
        flags = [i['ignore_flag'] for i in data.get_data_info(i)['instances']]
        assert flags.count(1) == 1


def test_skeletons_mirror():
    for skeleton in (COCO_17, OPENPOSE_18):
        for name, other in zip(skeleton.joints, skeleton.flip_indices):
            swapped = name.replace('left', '#').replace('right', 'left').replace('#', 'right')
            assert skeleton.joints[other] == swapped
        for (a, b), (limb, sense) in zip(skeleton.limbs, skeleton.flipped_limbs()):
            ends = skeleton.limbs[limb][::sense]
            assert (skeleton.flip_indices[a], skeleton.flip_indices[b]) == ends
    assert len(OPENPOSE_18.limbs) == 19


@pytest.mark.parametrize(
    'wrong', [dict(cue='hats'), dict(min_persons=3, max_persons=2), dict(min_height=0.0)]
)
def test_impossible_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match='expected'):
        PuppetsSpec(**wrong)
