"""A config for a user's data: from each format, for each system, as it is written."""

import cv2
import pytest
import torch
from mmengine.dataset import pseudo_collate

from registry_losses.commands.browse_dataset import browse_dataset_main
from registry_losses.commands.config_choices import choose
from registry_losses.commands.convert_dataset import convert_dataset_main
from registry_losses.commands.fit_anchors import fit_anchors_main
from registry_losses.commands.new_config import SYSTEMS, new_config_main
from registry_losses.config import load_config
from registry_losses.registry import DATASETS, MODELS

from .own_data import CLASSES, write_coco


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_coco(tmp_path / 'in')


@pytest.mark.parametrize('system', SYSTEMS)
def test_every_system_takes_a_step(source, system, capsys):
    options = ['--image-size', '64', '64', '--batch-size', '2']
    new_config_main(['--train', str(source), '--system', system, '--out', 'c.py', *options])
    out = capsys.readouterr().out
    assert '2 classes (bolt, nut)' in out and 'tools/train.py c.py' in out
    cfg = load_config('c.py')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    train, val = (DATASETS.build(cfg[f'{p}_dataloader'].dataset) for p in ('train', 'val'))
    assert (len(train), len(val)) == (5, 1) and train.metainfo['classes'] == CLASSES
    data = model.data_preprocessor(pseudo_collate([train[0], train[1]]), True)
    losses = model(**data, mode='loss')
    total = sum(v if torch.is_tensor(v) else sum(v) for k, v in losses.items() if 'loss' in k)
    assert torch.isfinite(total)
    assert cfg.val_evaluator.ann_file == val.ann_file and cfg.train_cfg.max_iters == 1000


@pytest.mark.parametrize('kind', ['coco', 'voc', 'yolo'])
def test_every_format(source, kind, tmp_path, capsys):
    split = ['--split', 'train=0.67', 'val=0.33']
    convert_dataset_main([str(source), '--to', kind, '--out', 'd', *split])
    places = dict(
        coco=('d/annotations/train.json', 'd/annotations/val.json'),
        voc=('d/ImageSets/Main/train.txt', 'd/ImageSets/Main/val.txt'),
        yolo=('d/images/train', 'd/images/val'),
    )[kind]
    new_config_main(['--train', places[0], '--val', places[1], '--out', 'sub/c.py'])
    cfg = load_config('sub/c.py')
    train, val = (DATASETS.build(cfg[f'{p}_dataloader'].dataset) for p in ('train', 'val'))
    assert (len(train), len(val)) == (4, 2)
    objects = [o for i in range(4) for o in train.get_data_info(i)['instances']]
    assert len(objects) == 12 and set(train.metainfo['classes']) == set(CLASSES)
    browse_dataset_main(['sub/c.py', '--num', '3', '--repeats', '2', '--out', 'b', '--rows', '1'])
    sheets = sorted((tmp_path / 'b').iterdir())
    assert [s.name for s in sheets] == ['train_01.png', 'train_02.png']
    assert all(cv2.imread(str(s)).shape[1] > 600 for s in sheets)


def test_what_it_refuses(source, tmp_path, capsys):
    new_config_main(['--train', str(source), '--out', 'c.py', '--no-flip', '--max-iters', '50'])
    text = (tmp_path / 'c.py').read_text()
    assert 'RandomFlip' not in text and 'max_iters=50' in text
    for options, message in (
        (['--out', 'c.py'], 'c.py: is there already; --force'),
        (['--out', 'c.json'], 'a name that ends in .py'),
        (['--out', 'd.py', '--classes', 'bolt', 'nuts'], "'nuts' (nearest: 'nut')"),
        (['--out', 'd.py', '--val', 'nowhere'], 'nowhere: no such file'),
    ):
        with pytest.raises(SystemExit) as stopped:
            new_config_main(['--train', str(source), *options])
        assert stopped.value.code == 1 and message in capsys.readouterr().err


def test_fit_anchors_prints_what_to_write(source, capsys):
    fit_anchors_main([str(source), '--strides', '4', '8', '16', '--image-size', '64', '48'])
    out = capsys.readouterr().out
    assert '18 boxes' in out and 'base_sizes=[' in out and 'octave_base_scale=' in out
    assert 'regress_ranges=((-1.0, ' in out and 'best possible recall' in out
    with pytest.raises(SystemExit):
        fit_anchors_main([str(source), '--count', '4'])
    assert 'expected a multiple of the 3 strides' in capsys.readouterr().err


def test_sizes_and_lengths_follow_the_data():
    """Platelets of 38 pixels beside cells of 100: the size is the small ones'."""
    boxes = [[0, 0, 38, 40], [100, 100, 200, 210], [300, 300, 400, 400]]
    instances = [dict(bbox=b, bbox_label=min(i, 1), ignore_flag=0) for i, b in enumerate(boxes)]
    images = [dict(width=640, height=480, instances=instances)] * 292
    chosen = choose(images)
    assert chosen.image_size == (320, 240) and chosen.max_iters == 1400
    photos = [dict(width=500, height=375, instances=instances[1:])] * 20
    assert choose(photos).image_size == (192, 144) and choose(photos).max_iters == 1000
    assert choose(photos, image_size=(96, 64), max_iters=7).max_iters == 7
