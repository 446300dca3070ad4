"""``tools/infer.py`` from a checkpoint to pictures and results."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from pycocotools.coco import COCO

from registry_losses.commands.detector import (
    Detector,
    category_ids,
    class_names,
    inference_pipeline,
)
from registry_losses.commands.image_files import find_images, image_ids, picture_names
from registry_losses.commands.infer import infer_main
from registry_losses.commands.video_files import VideoReader, VideoWriter
from registry_losses.config import load_config
from registry_losses.datasets.metainfo import COCO_CLASSES
from registry_losses.engine import build_model
from registry_losses.errors import CheckpointError, ConfigError, DataError
from registry_losses.testing import fill_from_names

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
NAMES = tuple('abcdefghij')
CONFIG = f"""
_base_ = ['{CONFIGS}/retinanet/retinanet_tiny_digits.py']
# Random weights are sure of nothing: let five boxes an image through.
model = dict(test_cfg=dict(score_thr=0.0, nms_pre=50, max_per_img=5))
test_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='CachedLoadImage'),
            dict(type='LoadAnnotations'),
            dict(type='LetterResize', scale=(128, 128)),
            dict(type='PackDetInputs'),
        ]
    )
)
"""


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A config and a checkpoint whose classes are not the data set's."""
    folder = tmp_path_factory.mktemp('trained')
    (folder / 'config.py').write_text(CONFIG)
    model = build_model(folder / 'config.py')
    fill_from_names(model)
    meta = dict(dataset_meta=dict(classes=NAMES, palette=[(200, 10, 10)] * 10))
    torch.save(dict(meta=meta, state_dict=model.state_dict()), folder / 'a.pth')
    return folder / 'config.py', folder / 'a.pth'


@pytest.fixture
def images(tmp_path):
    """Three files: a noisy one, the same at twice the size, and a wide one in a subfolder."""
    folder = tmp_path / 'images'
    (folder / 'more').mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / '7.png'), noise)
    cv2.imwrite(str(folder / '11.png'), noise.repeat(2, 0).repeat(2, 1))
    cv2.imwrite(str(folder / 'more' / '3.png'), noise[:64])
    (folder / 'notes.txt').write_text('not an image')
    return folder


def run(trained, sources, out, *options):
    config, checkpoint = trained
    words = [config, checkpoint, *sources, '--out', out, '--device', 'cpu', *options]
    infer_main([str(w) for w in words])
    return json.loads((out / 'results.json').read_text())


def test_results_pictures_and_the_names_of_the_checkpoint(trained, images, tmp_path, capsys):
    out = tmp_path / 'out'
    rows = run(trained, [images], out, '--batch-size', '2', '--score-thr', '0')
    found = json.loads((out / 'images.json').read_text())
    by_id = {i['id']: i for i in found['images']}
    assert {k: Path(v['file_name']).name for k, v in by_id.items()} == {
        7: '7.png', 11: '11.png', 3: '3.png',
    }  # fmt: skip
    assert (by_id[3]['width'], by_id[3]['height']) == (128, 64)
    assert [c['name'] for c in found['categories']] == list(NAMES)
    assert [c['id'] for c in found['categories']] == list(range(1, 11))
    assert len(rows) == 15
    for number in by_id:
        scores = [r['score'] for r in rows if r['image_id'] == number]
        assert len(scores) == 5 and scores == sorted(scores, reverse=True)
    # COCO's own tools read both files.
    coco = COCO(str(out / 'images.json'))
    loaded = coco.loadRes(str(out / 'results.json'))
    assert len(loaded.getAnnIds(imgIds=[11])) == 5
    for path, side in (('7', 384), ('11', 512), ('3', 384)):
        picture = cv2.imread(str(out / 'pictures' / f'{path}.png'))
        assert picture.shape[1] == side  # small images are enlarged
        # The palette's colour is there: RGB (200, 10, 10).
        assert ((np.abs(picture.astype(int) - (10, 10, 200))).max(2) == 0).sum() > 100
    assert '3 images, 15 detections' in capsys.readouterr().out


def test_boxes_are_in_pixels_of_the_file(trained, images):
    """An image of twice the size has the same content after resizing, and boxes twice as large."""
    detector = Detector(*trained, device='cpu')
    small, large = detector([images / '7.png', images / '11.png'])
    assert small.pred_instances.bboxes.abs().max() > 20
    torch.testing.assert_close(large.pred_instances.scores, small.pred_instances.scores)
    torch.testing.assert_close(
        large.pred_instances.bboxes, small.pred_instances.bboxes * 2, rtol=1e-4, atol=1e-3
    )
    one = detector([images / '7.png'])[0]
    torch.testing.assert_close(
        one.pred_instances.bboxes, small.pred_instances.bboxes, rtol=1e-4, atol=1e-3
    )


def test_threshold_and_results_alone(trained, images, tmp_path):
    out = tmp_path / 'out'
    rows = run(trained, [images / '11.png'], out, '--score-thr', '1')
    assert len(rows) == 5  # the file holds what the model gives; the threshold is for pictures
    picture = cv2.imread(str(out / 'pictures' / '11.png'))
    plain = cv2.imread(str(images / '11.png'))
    assert np.array_equal(picture, plain.repeat(2, 0).repeat(2, 1))
    run(trained, [images], tmp_path / 'bare', '--no-pictures')
    assert not (tmp_path / 'bare' / 'pictures').exists()


def test_unreadable_images_do_not_stop_the_others(trained, images, tmp_path, capsys):
    (images / 'broken.png').write_bytes(b'no image')
    whole = (images / '7.png').read_bytes()
    (images / 'cut.png').write_bytes(whole[:60])
    with pytest.raises(SystemExit) as stop:
        run(trained, [images], tmp_path / 'out', '--batch-size', '5')
    assert stop.value.code == 1
    message = capsys.readouterr().err
    assert '2 of 5 images failed' in message
    assert f'\n{images}/broken.png: cannot be decoded' in message
    assert 'broken.png' in message and 'cut.png' in message
    rows = json.loads((tmp_path / 'out' / 'results.json').read_text())
    assert len(rows) == 15
    # The names were numbers but for those two, so all images are counted instead.
    assert {r['image_id'] for r in rows} < {1, 2, 3, 4, 5}


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(images='nowhere'), 'nowhere: no such image or folder'),
        (dict(images='*.gif'), 'the pattern matches nothing'),
        (dict(device='cuda:77'), '--device cuda:77: no such device here; there is cpu'),
        (dict(device='sofa'), '--device sofa: no such device here; there is cpu'),
        (dict(checkpoint='none.pth'), 'none.pth: no such checkpoint file'),
        (dict(config='none.py'), "no config file 'none.py'"),
        (dict(out='taken'), '--out taken: cannot be made a folder'),
    ],
)
def test_mistakes_are_named(trained, images, tmp_path, monkeypatch, capsys, change, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'taken').write_text('')
    words = dict(config=trained[0], checkpoint=trained[1], images=images, out='out', device='cpu')
    words.update(change)
    with pytest.raises(SystemExit) as stop:
        infer_main(
            [str(words[k]) for k in ('config', 'checkpoint', 'images')]
            + ['--out', words['out'], '--device', words['device']]
        )
    assert stop.value.code == 1
    assert message in capsys.readouterr().err


def test_weights_of_another_model_are_refused(trained, images, tmp_path):
    config, _ = trained
    other = build_model(config)
    state = other.state_dict()
    state['bbox_head.retina_cls.weight'] = torch.zeros(1, 2, 3, 3)
    state['spare'] = torch.zeros(1)
    del state['bbox_head.retina_reg.bias']
    torch.save(dict(state_dict=state), tmp_path / 'other.pth')
    with pytest.raises(CheckpointError) as wrong:
        Detector(config, tmp_path / 'other.pth')
    text = str(wrong.value)
    assert '1 missing (bbox_head.retina_reg.bias)' in text
    assert '1 left over (spare)' in text
    assert '1 of another shape (bbox_head.retina_cls.weight (1, 2, 3, 3) for ' in text
    (tmp_path / 'text.pth').write_text('no weights')
    with pytest.raises(CheckpointError, match=r'text\.pth'):
        Detector(config, tmp_path / 'text.pth')


def test_plain_weights_and_those_of_a_distributed_run(trained, images, tmp_path):
    """A bare state dict, and one whose names begin with ``module.``."""
    config, checkpoint = trained
    state = torch.load(checkpoint, weights_only=True)['state_dict']
    torch.save({f'module.{k}': v for k, v in state.items()}, tmp_path / 'bare.pth')
    a = Detector(config, checkpoint, device='cpu')
    b = Detector(config, tmp_path / 'bare.pth', device='cpu')
    assert b.classes == tuple('0123456789')  # no meta: the data set's
    first, second = (d([images / '7.png'])[0].pred_instances for d in (a, b))
    assert torch.equal(first.bboxes, second.bboxes)


def test_where_class_names_come_from(trained):
    cfg = load_config(trained[0])
    digits = tuple('0123456789')
    assert class_names(cfg, dict(dataset_meta=dict(classes=NAMES))) == NAMES
    assert class_names(cfg, dict(CLASSES=NAMES)) == NAMES
    assert class_names(cfg, dict(dataset_meta=dict(classes=('one',)))) == digits
    cfg.model.bbox_head.num_classes = 3
    assert class_names(cfg, {}) == ('0', '1', '2')
    assert category_ids(COCO_CLASSES)[-1] == 90 and len(category_ids(COCO_CLASSES)) == 80
    assert [n['type'] for n in inference_pipeline(cfg)] == [
        'LoadImageFromFile', 'LetterResize', 'PackDetInputs',
    ]  # fmt: skip
    cfg.test_dataloader = cfg.val_dataloader = None
    with pytest.raises(ConfigError, match='inference needs a test pipeline'):
        inference_pipeline(cfg)


def test_which_files_are_taken(images, tmp_path):
    names = lambda *sources: [p.name for p in find_images(sources)]  # noqa: E731
    assert names(images) == ['11.png', '7.png', '3.png']
    assert names(images / '7.png', images) == ['7.png', '11.png', '3.png']  # once each
    assert names(images / '*') == ['11.png', '7.png', '3.png']
    assert names(images / '?.png') == ['7.png']
    assert names(images / '**' / '3.*') == ['3.png']
    assert names(images / 'notes.txt') == ['notes.txt']  # named outright: the user's word counts
    (tmp_path / 'empty').mkdir()
    with pytest.raises(DataError, match='no images in'):
        find_images([tmp_path / 'empty'])
    odd = images / 'a[1].png'
    (images / '7.png').rename(odd)
    assert names(odd) == ['a[1].png']


def test_numbers_and_names_of_pictures():
    paths = [Path('x/000000000139.jpg'), Path('y/7.jpg')]
    assert image_ids(paths) == [139, 7]
    assert image_ids([*paths, Path('z/7.png')]) == [1, 2, 3]
    assert image_ids([Path('a.jpg')]) == [1]
    same = [Path('x/7.jpg'), Path('y/7.png'), Path('7_2.jpg'), Path('z/7.jpg')]
    assert picture_names(same) == ['7.png', '7_2.png', '7_2_2.png', '7_3.png']


def test_three_lines_of_python(trained, tmp_path):
    """Files, arrays and PIL images give the same boxes, alone and in a list."""
    import registry_losses

    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    path = tmp_path / 'a.png'
    cv2.imwrite(str(path), pixels)
    detector = registry_losses.Detector(*trained, device='cpu')
    found = detector(path).pred_instances
    assert len(found) == 5 and detector.classes == NAMES
    pil = pytest.importorskip('PIL.Image')
    for form in (str(path), pixels, pil.open(path)):
        assert torch.equal(detector(form).pred_instances.bboxes, found.bboxes)
    batch = detector([path, pixels])
    assert isinstance(batch, list) and len(batch) == 2
    for wrong in (pixels[..., :2], pixels.astype(float), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(DataError, match='image 0 of the call: expected'):
            detector(wrong)


def test_a_video(trained, images, tmp_path, capsys):
    """Every second of six frames, in batches, beside an image; a file that is no video."""
    clip, out = images / 'more' / 'clip.mp4', tmp_path / 'out'
    frame = cv2.imread(str(images / '7.png'))
    with VideoWriter(clip, 10.0) as writer:
        for i in range(6):
            writer.add(np.roll(frame, 4 * i, axis=1))
    rows = run(
        trained, [images / '7.png', images / 'more'], out, '--every', '2', '--batch-size', '2'
    )
    found = json.loads((out / 'images.json').read_text())['images']
    frames = [i for i in found if 'frame' in i]
    assert [i['frame'] for i in frames] == [0, 2, 4] and len(found) == 5
    assert len({i['id'] for i in found}) == 5 and len(rows) == 25
    drawn = list(VideoReader(out / 'videos' / 'clip.mp4'))
    assert len(drawn) == 3 and drawn[0][1].shape == (384, 384, 3)  # small frames are enlarged
    assert np.abs(drawn[0][1].astype(int) - frame.repeat(3, 0).repeat(3, 1)).max() > 50
    assert '5 images and frames, 25 detections' in capsys.readouterr().out
    (images / 'more' / 'no.mp4').write_bytes(b'no video')
    with pytest.raises(SystemExit):
        run(trained, [images / 'more' / 'no.mp4'], tmp_path / 'none')
    assert 'no.mp4: cannot be read as a video' in capsys.readouterr().err
