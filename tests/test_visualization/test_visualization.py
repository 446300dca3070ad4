"""Pictures: that the right things stand where they should."""

import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from registry_losses.errors import DataError
from registry_losses.structures import DetDataSample
from registry_losses.visualization import (
    DetVisualizer,
    draw_boxes,
    draw_prediction_sheet,
    find_logs,
    plot_curves,
    read_scalars,
)
from registry_losses.visualization.draw import label_texts, write
from registry_losses.visualization.labels import _overlaps, place_labels
from registry_losses.visualization.sheet import _MISSED, _RIGHT, _WRONG, match_predictions


def test_boxes_are_outlined_where_they_are():
    image = np.zeros((40, 50, 3), np.uint8)
    drawn = draw_boxes(image, np.array([[5, 6, 20, 16]]), colours=(255, 0, 9), thickness=1)
    ys, xs = np.nonzero(drawn[..., 0])
    assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == (5, 6, 20, 16)
    assert (drawn[10, 10] == 0).all() and drawn[6, 10].tolist() == [255, 0, 9]
    assert not image.any()
    odd = np.array([[np.nan, 0, 1, 1], [-1e9, -1e9, 1e9, 1e9], [60, 70, 80, 90]])
    assert draw_boxes(image, odd, texts=['a', 'b', 'c']).shape == image.shape


def test_texts():
    labels, scores = np.array([1, 0, 7]), np.array([0.873, 1.0, 0.1])
    assert label_texts(labels, ('a', 'b'), scores) == ['b: 87%', 'a: 100%', '7: 10%']
    assert label_texts(labels, None) == ['1', '0', '7']
    canvas = np.zeros((30, 60, 3), np.uint8)
    write(canvas, 'cat', (55, -4), (250, 250, 250), 9)  # no room right or above: moved inside
    ys, xs = np.nonzero(canvas[..., 0])
    assert xs.max() == 59 and ys.min() == 0 and (canvas == 0).any()


def test_matching_of_the_sheet():
    gt = dict(gt_bboxes=np.array([[0, 0, 10, 10.0], [20, 0, 30, 10]]), gt_labels=np.array([0, 1]))
    pred = dict(
        bboxes=np.array([[0, 0, 10, 9.0], [0, 0, 10, 10], [20, 0, 30, 10], [20, 0, 30, 10]]),
        labels=np.array([0, 0, 0, 1]),
        scores=np.array([0.9, 0.8, 0.7, 0.6]),
    )
    right, found = match_predictions(pred, gt, iou_thr=0.5)
    assert right.tolist() == [True, False, False, True] and found.tolist() == [True, True]
    none = dict(bboxes=np.zeros((0, 4)), labels=np.zeros(0), scores=np.zeros(0))
    assert match_predictions(none, gt, iou_thr=0.5)[1].tolist() == [False, False]


def make_sample(path, *, scale=(1.0, 1.0)):
    cv2.imwrite(str(path), np.full((64, 64, 3), 30, np.uint8))
    sample = DetDataSample(metainfo=dict(img_id=1, img_path=str(path), scale_factor=scale))
    factor = torch.tensor([*scale, *scale])
    boxes = torch.tensor([[8.0, 20, 24, 40], [36, 20, 60, 50]])
    sample.gt_instances = InstanceData(bboxes=boxes * factor, labels=torch.tensor([0, 1]))
    sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4))
    sample.pred_instances = InstanceData(
        bboxes=torch.tensor([[8.0, 20, 24, 40], [30, 50, 60, 60], [0, 0, 5, 5]]),
        labels=torch.tensor([0, 1, 1]),
        scores=torch.tensor([0.9, 0.8, 0.1]),
    )
    return sample


@pytest.mark.parametrize('scale', [(1.0, 1.0), (2.0, 0.5)])
def test_sheet_shows_right_wrong_and_missed(tmp_path, scale):
    sample = make_sample(tmp_path / 'a.png', scale=scale)
    out = draw_prediction_sheet([sample, sample.to_dict()], tmp_path / 'new' / 's.png', cell=128)
    sheet = cv2.imread(str(out))[..., ::-1]
    pair = sheet[: 128 + 18 + 8, : sheet.shape[1] // 2]
    gt_panel, pred_panel = pair[4 + 18 : -4, 8 : 8 + 128], pair[4 + 18 : -4, 8 + 130 : 8 + 258]

    def extent(panel, colour):
        ys, xs = np.nonzero((panel == colour).all(2))
        return [] if not len(xs) else [xs.min() // 2, ys.max() // 2 + 1, xs.max() // 2 + 1]

    assert extent(gt_panel, _RIGHT) == [8, 40, 24]
    assert extent(gt_panel, _MISSED) == [36, 50, 60]
    assert extent(pred_panel, _RIGHT)[:2] == [8, 40]
    assert extent(pred_panel, _WRONG)[:2] == [30, 60]  # the third is below the threshold
    with pytest.raises(DataError, match='at least one sample'):
        draw_prediction_sheet([], tmp_path / 'x.png')


def test_sheet_grid_and_errors(tmp_path):
    sample = make_sample(tmp_path / 'a.png')
    out = draw_prediction_sheet([sample] * 5, tmp_path / 's.png', columns=2, cell=64, max_images=3)
    height, width = cv2.imread(str(out)).shape[:2]
    assert (height, width) == (2 * (64 + 18 + 8) + 28, 2 * (130 + 16))
    pathless = DetDataSample(metainfo=dict(img_id=1))
    pathless.pred_instances = make_sample(tmp_path / 'b.png').pred_instances
    with pytest.raises(DataError, match="no 'img_path'"):
        draw_prediction_sheet([pathless], tmp_path / 'x.png')


def test_visualizer_writes_and_enlarges(tmp_path):
    sample = make_sample(tmp_path / 'a.png')
    visualizer = DetVisualizer(min_side=128)
    visualizer.dataset_meta = dict(classes=('cat', 'dog'), palette=[(255, 0, 0), (0, 0, 255)])
    image = np.full((64, 64, 3), 30, np.uint8)
    visualizer.add_datasample('x', image, sample, out_file=str(tmp_path / 'd' / 'o.png'))
    drawn = cv2.imread(str(tmp_path / 'd' / 'o.png'))[..., ::-1]
    assert drawn.shape == (128, 256, 3)
    for panel, bottom in ((drawn[:, :128], 40), (drawn[:, 128:], 40)):
        ys, xs = np.nonzero((panel == (255, 0, 0)).all(2))
        assert ys.max() + 1 == 2 * bottom and xs.min() == 16
    assert np.array_equal(visualizer.get_image(), drawn)
    visualizer.add_datasample('x', image, sample, draw_gt=False, out_file=str(tmp_path / 'p.png'))
    assert cv2.imread(str(tmp_path / 'p.png')).shape == (128, 128, 3)


def test_the_highest_score_lies_on_top(tmp_path):
    sample = make_sample(tmp_path / 'a.png')
    sample.pred_instances = InstanceData(
        bboxes=torch.tensor([[8.0, 20, 24, 40]] * 3),
        labels=torch.tensor([0, 1, 1]),
        scores=torch.tensor([0.9, 0.5, 0.4]),
    )
    sheet = cv2.imread(str(draw_prediction_sheet([sample], tmp_path / 's.png', cell=128)))
    panel = sheet[4 + 18 : -4, 8 + 130 : 8 + 258, ::-1]
    # The outline of the best one; the names of the others stand around it.
    assert (panel[60, 16] == _RIGHT).all() and (panel[60, 46] != _WRONG).any()
    visualizer = DetVisualizer(min_side=64)
    visualizer.dataset_meta = dict(classes=('cat', 'dog'), palette=[(255, 0, 0), (0, 0, 255)])
    image, out = np.zeros((64, 64, 3), np.uint8), str(tmp_path / 'o.png')
    visualizer.add_datasample('x', image, sample, draw_gt=False, out_file=out)
    assert (cv2.imread(out)[30, 8, ::-1] == (255, 0, 0)).all()


def test_labels_hide_neither_small_objects_nor_each_other():
    """A large box whose usual place for its name is taken by three small objects."""
    small = [[20.0 + 16 * i, 29, 32 + 16 * i, 39] for i in range(3)]
    boxes = np.array([[20.0, 40, 90, 90], *small])
    sizes = np.array([[44, 10], *[[30, 10]] * 3])
    labels = place_labels(boxes, sizes, (120, 100))
    for i, (label, size) in enumerate(zip(labels, sizes)):
        place = np.array([label.x, label.y, *([label.x, label.y] + size)], float)
        assert place[0] >= 0 and place[2] <= 120 and place[1] >= 0 and place[3] <= 100
        others = np.delete(boxes[1:], i - 1, axis=0) if i else boxes[1:]
        assert not _overlaps(place[None], others).any(), i
        rest = [np.array([o.x, o.y, *([o.x, o.y] + s)], float) for o, s in zip(labels, sizes)]
        assert not _overlaps(place[None], np.array(rest[:i] + rest[i + 1 :])).any(), i
        assert not label.bare
    crowd = np.array([[x, y, x + 10.0, y + 10] for x in range(0, 60, 10) for y in range(0, 60, 10)])
    names = place_labels(crowd, np.full((36, 2), (30, 10)), (60, 60))
    assert all(name.bare for name in names)  # no room: written without a background


def test_a_sheet_of_wide_images_has_no_blank_quarter(tmp_path):
    sample = make_sample(tmp_path / 'a.png')
    cv2.imwrite(str(tmp_path / 'a.png'), np.full((60, 120, 3), 30, np.uint8))
    sheet = cv2.imread(str(draw_prediction_sheet([sample] * 2, tmp_path / 's.png', cell=128)))
    assert sheet.shape[0] == 64 + 18 + 8 + 28
    cv2.imwrite(str(tmp_path / 'a.png'), np.full((120, 60, 3), 30, np.uint8))
    sheet = cv2.imread(str(draw_prediction_sheet([sample] * 2, tmp_path / 't.png', cell=512)))
    assert sheet.shape[1] == 2 * (2 * 256 + 2 + 16)


def test_visualizer_hands_pictures_to_its_backends(tmp_path):
    backends = [dict(type='LocalVisBackend')]
    visualizer = DetVisualizer(vis_backends=backends, save_dir=str(tmp_path), min_side=64)
    sample = make_sample(tmp_path / 'a.png')
    visualizer.add_datasample('val', np.zeros((64, 64, 3), np.uint8), sample, step=7)
    assert [p.name for p in tmp_path.rglob('vis_image/*')] == ['val_7.png']


def write_log(path, rows, tail=''):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('\n'.join(json.dumps(r) for r in rows) + '\n' + tail)


def train_row(step, loss):
    return dict(lr=0.1, loss=loss, loss_cls=loss / 2, time=0.1, epoch=1, iter=step, step=step)


def test_scalars_of_restarted_runs(tmp_path):
    first = [train_row(10, 5.0), {'coco/bbox_mAP': 0.1, 'step': 1}, train_row(20, 4.0)]
    second = [train_row(20, 3.0), train_row(30, 2.0), {'coco/bbox_mAP': 0.4, 'step': 2}]
    write_log(tmp_path / '2024_1' / 'vis_data' / 'scalars.json', first, '{"loss": 3, "st')
    write_log(tmp_path / '2024_2' / 'vis_data' / 'scalars.json', second)
    assert len(find_logs(tmp_path)) == 2
    train, val = read_scalars(tmp_path)
    assert train['loss'].tolist() == [[10, 5], [20, 3], [30, 2]]
    # Validation is numbered by epoch in the log, and stands at the training step here.
    assert val['coco/bbox_mAP'].tolist() == [[10, 0.1], [30, 0.4]]
    assert 'iter' not in train and 'time' in train


@pytest.mark.parametrize('steps', [3, 200])
def test_curves(tmp_path, steps):
    rows = []
    for i in range(1, steps + 1):
        rows.append(train_row(10 * i, 5 / i))
        if i % max(1, steps // 3) == 0:
            rows.append({'coco/bbox_mAP': 0.2, 'coco/bbox_mAP_l': float('nan'), 'step': i})
    write_log(tmp_path / 'scalars.json', rows)
    out = plot_curves(tmp_path / 'scalars.json', tmp_path / 'p' / 'c.png', title='a run')
    wide = cv2.imread(str(out))
    assert wide.shape[0] > 300 and wide.std() > 5
    write_log(tmp_path / 'train_only.json', [train_row(1, 1.0), train_row(2, float('nan'))])
    narrow = cv2.imread(str(plot_curves(tmp_path / 'train_only.json', tmp_path / 'n.png')))
    assert narrow.shape[1] < wide.shape[1]


def test_curves_without_a_log(tmp_path):
    with pytest.raises(DataError, match='no log at'):
        plot_curves(tmp_path / 'none.json', tmp_path / 'c.png')
    write_log(tmp_path / 'val.json', [{'coco/bbox_mAP': 0.1, 'step': 1}])
    with pytest.raises(DataError, match='no loss has been logged'):
        plot_curves(tmp_path / 'val.json', tmp_path / 'c.png')


def test_pictures_of_same_named_images_are_kept_apart(tmp_path):
    """The pictures of a test: one each, though two images are called alike."""
    from types import SimpleNamespace

    from registry_losses.engine.hooks.draw import DrawPredictionsHook

    infos, samples = [], []
    for i, folder in enumerate(('day', 'night')):
        (tmp_path / folder).mkdir()
        path = str(tmp_path / folder / f'{"xX"[i]}.png')
        cv2.imwrite(path, np.full((20, 30, 3), 90 * i, np.uint8))
        infos.append(dict(img_path=path))
        sample = DetDataSample(metainfo=dict(img_id=1, img_path=path, ori_shape=(20, 30)))
        empty = dict(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
        sample.gt_instances = InstanceData(**empty)
        sample.pred_instances = InstanceData(scores=torch.zeros(0), **empty)
        samples.append(sample)

    class Dataset:
        metainfo = dict(classes=('a',))

        def __len__(self):
            return 2

        def get_data_info(self, index):
            return infos[index]

    runner = SimpleNamespace(test_dataloader=SimpleNamespace(dataset=Dataset()))
    hook = DrawPredictionsHook(str(tmp_path / 'out'))
    hook.before_test(runner)
    for i, sample in enumerate(samples):
        hook.after_test_iter(runner, i, outputs=[sample])
    names = sorted(path.name for path in (tmp_path / 'out').iterdir())
    assert len({name.lower() for name in names}) == 2
