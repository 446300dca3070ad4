"""Grouping of peaks into persons: limb by limb, and by tags."""

import numpy as np

from registry_losses.pose.limb_grouping import LimbGrouping, group_by_limbs
from registry_losses.pose.persons import Persons
from registry_losses.pose.tag_grouping import TagGrouping, group_by_tags


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
