"""Pictures of persons: skeletons, sheets, and the maps of pose heads."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from registry_losses.errors import DataError
from registry_losses.structures import DetDataSample
from registry_losses.structures.skeleton import COCO_17
from registry_losses.visualization import DetVisualizer, draw_prediction_sheet
from registry_losses.visualization.browse import draw_samples
from registry_losses.visualization.person_sheet import match_persons, similarities
from registry_losses.visualization.pose_maps import (
    direction_colours,
    draw_fields,
    draw_heatmaps,
    draw_map_sheet,
    draw_tags,
)
from registry_losses.visualization.skeletons import PERSON_COLOURS, draw_skeletons, limbs_of

BLACK = np.zeros((60, 80, 3), np.uint8)


def colour_at(image, x, y):
    return tuple(image[y, x].tolist())


def test_a_limb_needs_both_of_its_joints():
    points = np.array([[[10.5, 20.5], [60.5, 20.5], [40.5, 50.5]]])
    options = dict(limbs=[(0, 1), (1, 2)], thickness=3)
    drawn = draw_skeletons(BLACK, points, np.array([[1, 2, 0]]), **options)
    assert colour_at(drawn, 35, 20) == PERSON_COLOURS[0]
    assert colour_at(drawn, 50, 35) == colour_at(drawn, 40, 50) == (0, 0, 0)
    assert (BLACK == 0).all()
    points[0, 1] = np.nan
    assert colour_at(draw_skeletons(BLACK, points, np.ones((1, 3)), **options), 35, 20) == (0, 0, 0)


def test_the_first_person_lies_on_top():
    points = np.array([[[10.5, 30.5], [70.5, 30.5]], [[40.5, 10.5], [40.5, 55.5]]])
    drawn = draw_skeletons(BLACK, points, np.ones((2, 2)), limbs=[(0, 1)], thickness=3)
    assert colour_at(drawn, 40, 30) == PERSON_COLOURS[0]
    assert colour_at(drawn, 40, 20) == PERSON_COLOURS[1]


def test_limbs_follow_from_the_number_of_joints():
    assert limbs_of(17) == COCO_17.limbs and limbs_of(5) == ()


def test_a_picture_of_fields_tells_their_direction():
    """Right, down, left and up are four colours; an arrow's head is where it points."""
    x, y = np.array([1.0, 0, -1, 0]), np.array([0.0, 1, 0, -1])
    colours = direction_colours(x, y).astype(int)
    assert len({tuple(c) for c in colours.tolist()}) == 4
    assert colours[0, 0] == 255 and colours[2, 0] < 60  # red to the right, cyan to the left
    assert direction_colours(np.zeros(1), np.zeros(1)).max() == 0
    field = np.zeros((2, 32, 32), np.float32)
    pictures = []
    for sign in (1, -1):
        field[0, 12:20, 12:20] = sign
        picture = draw_fields(field, (256, 256))
        pictures.append(picture)
        arrows = (picture[96:160, 96:160] == 255).all(-1)
        assert arrows.sum() > 20
    # Heads are wider than tails: the white lies towards where the arrows point.
    right, left = ((p > 200).all(-1).nonzero()[1].mean() for p in pictures)
    assert right > left + 1
    assert pictures[0][-12:, 2:24].max() > 200  # the disc that explains the colours


def test_pictures_of_heatmaps_and_tags():
    heat = np.zeros((2, 16, 16), np.float32)
    heat[0, 4, 4] = heat[1, 12, 12] = 1
    tags = np.zeros((1, 2, 16, 16), np.float32)
    tags[0, 0], tags[0, 1] = -1, 3
    shown = draw_tags(tags, heat, (64, 64))
    assert colour_at(shown, 18, 18) != colour_at(shown, 50, 50) != (0, 0, 0)
    assert colour_at(shown, 40, 10) == (0, 0, 0)
    warm = draw_heatmaps(heat, np.full((64, 64, 3), 100, np.uint8))
    assert warm[18, 18].sum() > 3 * warm[40, 10].sum() > 0
    assert draw_tags(tags, heat * 0, (64, 64)).max() == 0


def test_a_sheet_of_maps(tmp_path):
    rows = [dict(one=np.full((20, 30, 3), 9, np.uint8), two=np.full((24, 30, 3), 200, np.uint8))]
    image = cv2.imread(str(draw_map_sheet(rows * 2, tmp_path / 'new' / 'maps.png')))
    assert image.shape == (18 + 2 * 28, 68, 3)
    with pytest.raises(DataError, match='at least one row'):
        draw_map_sheet([], tmp_path / 'x.png')


def sample(path, shift=0.0):
    """Two persons, the second found ``shift`` pixels aside."""
    shape = np.random.default_rng(0).uniform(0, 40, (2, 17, 2)) + [[[10, 10]], [[70, 40]]]
    joints = torch.tensor(shape, dtype=torch.float32)
    boxes = torch.cat((joints.amin(1), joints.amax(1)), 1)
    moved = joints.clone()
    moved[1] += shift
    cv2.imwrite(str(path), np.full((100, 128, 3), 60, np.uint8))
    result = DetDataSample(metainfo=dict(img_id=1, img_path=str(path), ori_shape=(100, 128)))
    result.gt_instances = InstanceData(
        bboxes=boxes, labels=torch.zeros(2, dtype=torch.long), keypoints=joints,
        keypoints_visible=torch.full((2, 17), 2.0),
    )  # fmt: skip
    result.pred_instances = InstanceData(
        bboxes=boxes, labels=torch.zeros(2, dtype=torch.long), keypoints=moved,
        scores=torch.tensor([0.9, 0.6]), keypoint_scores=torch.full((2, 17), 0.7),
    )  # fmt: skip
    return result


@pytest.mark.parametrize('shift, right', [(0.0, 2), (30.0, 1)])
def test_persons_are_right_by_their_joints_and_not_by_their_boxes(tmp_path, shift, right):
    shown = sample(tmp_path / 'a.png', shift)
    gt, pred = shown.gt_instances, shown.pred_instances
    persons = dict(
        pred_keypoints=pred.keypoints.numpy(), pred_seen=pred.keypoint_scores.numpy(),
        gt_keypoints=gt.keypoints.numpy(), gt_seen=gt.keypoints_visible.numpy(),
    )  # fmt: skip
    overlaps = similarities(persons, gt.bboxes.numpy())
    good, found = match_persons(overlaps, pred.scores.numpy(), 0.5)
    assert good.sum() == found.sum() == right
    assert overlaps[0, 0] == pytest.approx(1)
    sheet = cv2.imread(str(draw_prediction_sheet([shown], tmp_path / 'sheet.png', cell=300)))
    missed = (sheet == (0, 170, 255)).all(-1).sum()
    # The legend's square is always there.
    assert (missed > 300) == (right == 1)


def test_the_visualizer_and_the_browser_draw_skeletons(tmp_path):
    shown = sample(tmp_path / 'a.png')
    artist = DetVisualizer(min_side=128)
    artist.dataset_meta = dict(classes=('person',), skeleton=COCO_17.limbs)
    artist.add_datasample(
        'a', np.zeros((100, 128, 3), np.uint8), shown, out_file=str(tmp_path / 'b.png')
    )
    pair = cv2.imread(str(tmp_path / 'b.png'))[..., ::-1]
    assert pair.shape == (100, 256, 3)
    for half in (pair[:, :128], pair[:, 128:]):
        for colour in PERSON_COLOURS[:2]:
            assert (half == colour).all(-1).sum() > 30
    packed = dict(inputs=torch.zeros(3, 100, 128, dtype=torch.uint8), data_samples=shown)
    shown.ignored_mask = torch.zeros(100, 128, dtype=torch.bool)
    shown.ignored_mask[80:, :20] = True
    sheet = cv2.imread(str(draw_samples([packed], tmp_path / 'c.png', cell=128)))[..., ::-1]
    assert (sheet == PERSON_COLOURS[0]).all(-1).sum() > 30
    assert (sheet == 75).all(-1).sum() > 300  # grey over black
