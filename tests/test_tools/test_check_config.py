"""``tools/check_config.py``: what it shows, and what it refuses."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from registry_losses.commands import inspection as tool
from registry_losses.commands.check_config import check_config_main
from registry_losses.config import load_config

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
RETINA = CONFIGS / 'retinanet' / 'retinanet_tiny_digits.py'
YOLOV5 = CONFIGS / 'yolo' / 'yolov5_tiny_digits.py'
SMALL = ['--size', '64', '64']


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv('COLUMNS', '220')


def run(capsys, *arguments) -> str:
    check_config_main([str(a) for a in arguments])
    return capsys.readouterr().out


def refused(capsys, *arguments) -> str:
    with pytest.raises(SystemExit) as end:
        check_config_main([str(a) for a in arguments])
    assert end.value.code == 1
    return capsys.readouterr().err


@pytest.mark.parametrize('file, term', [
    ('associative_embedding/ae_tiny_puppets.py', 'loss_embedding'),
    ('openpose/openpose_tiny_puppets.py', 'loss_field'),
])  # fmt: skip
def test_pose_heads_are_shown(capsys, file, term):
    text = run(capsys, CONFIGS / file, *SMALL)
    lines = [[cell.strip() for cell in line.split('│')[1:-1]] for line in text.splitlines()]
    rows = {cells[0]: cells[1:] for cells in lines if cells}
    # Synthetic joints are of one person, who has nobody to be pushed from.
    assert sum(float(value) for value in rows[term][-1].split(', ')) > 0
    assert rows['loss_heatmap'][1] == 'heatmap' and 'builds and trains' in text


def test_the_pairing_is_shown(capsys):
    assigner = "model.train_cfg.assigner=dict(type='SimOTAAssigner', center_radius=2.0)"
    text = run(capsys, YOLOV5, *SMALL, '--cfg-options', assigner)
    lines = [[cell.strip() for cell in line.split('│')[1:-1]] for line in text.splitlines()]
    rows = {cells[0]: cells[1:] for cells in lines if cells}
    assert rows['assigner'] == ['SimOTAAssigner', 'center_radius=2.0', 'predictions']
    assert rows['sampler'][0] == 'PseudoSampler'
    assert rows['loss_obj'][:4] == ['CrossEntropyLoss', 'objectness', 'all', 'level_mean']
    assert rows['loss_bbox'][2] == 'positives'
    assert all(float(rows[name][-1]) > 0 for name in ('loss_cls', 'loss_obj', 'loss_bbox'))
    assert rows['16'][0] == '128 x 4 x 4' and rows['16'][3] == str(3 * 4 * 4)
    assert int(rows['all'][0]) == 16  # gts
    positive = sum(int(rows[stride][4]) for stride in ('4', '8', '16'))
    assert float(rows['all'][1]) == pytest.approx(positive / 16, abs=0.051)
    assert 'backbone' in rows and 'bbox_head.head_module' in rows
    assert 'The config builds and trains' in text


def test_ignored_and_soft_priors_are_counted(capsys):
    sampler = "model.train_cfg.sampler=dict(type='RandomSampler', num=20, pos_fraction=0.5)"
    assigner = "model.train_cfg.assigner=dict(type='CenterNetAssigner')"
    text = run(capsys, RETINA, *SMALL, '--cfg-options', sampler, assigner)
    found = [line.split('│')[1:-1] for line in text.splitlines() if 'to' in line and '48 x' in line]
    columns = list(zip(*[[int(cell) for cell in cells[-4:]] for cells in found]))
    prior_index, positive, soft, ignored = (sum(column) for column in columns)
    assert soft > 0 and positive <= 20
    # At most 20 priors an image take part, beside the soft ones.
    assert 2 * prior_index - ignored - soft <= 40


def test_what_is_refused_says_why(capsys):
    loss = "model.bbox_head.loss_bbox=dict(type='DistributionFocalLoss')"
    error = refused(capsys, RETINA, '--cfg-options', loss)
    assert error.startswith('PairingError: loss_bbox: DistributionFocalLoss compares distributions')
    error = refused(capsys, RETINA, '--cfg-options', 'model.bbox_head.anchors=3')
    assert 'model.bbox_head.anchors: RetinaHead does not read this key' in error
    wrong = "model.bbox_head.assigner=dict(type='ATSSAssigner')"
    error = refused(capsys, RETINA, '--cfg-options', wrong)
    assert 'write it as model.train_cfg.assigner' in error
    error = refused(capsys, RETINA, '--cfg-options', 'model.bbox_head.loss_cls=FocalLoss')
    assert "loss_cls: expected dict(type='FocalLoss'), got the bare name 'FocalLoss'" in error


def test_a_loss_that_is_not_finite_fails(capsys):
    error = refused(
        capsys, RETINA, *SMALL, '--cfg-options', 'model.bbox_head.loss_bbox.loss_weight=1e39'
    )
    assert 'loss_bbox' in error


def test_gts_without_a_positive_are_pointed_out(capsys):
    strict = (
        "model.train_cfg.assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.9, neg_iou_thr=0.4, "
        'match_low_quality=False)'
    )
    text = run(capsys, RETINA, *SMALL, '--cfg-options', strict)
    assert 'gt has a positive' in text or 'gts have no positive' in text


def test_sizes_follow_the_training_pipeline():
    assert tool.training_size(load_config(RETINA)) == (128, 128)
    assert tool.training_size(load_config(CONFIGS / 'ssd' / 'ssd300_vgg16_coco.py')) == (300, 300)
    size = tool.training_size(load_config(CONFIGS / 'retinanet' / 'retinanet_r50_fpn_coco.py'))
    assert size == (320, 512)


def test_synthetic_gts_are_of_many_sizes_and_the_same_each_time():
    batch = tool.synthetic_batch((96, 160), 5, batch=3, count=12)
    again = tool.synthetic_batch((96, 160), 5, batch=3, count=12)
    for image, sample, other in zip(
        batch['inputs'], batch['data_samples'], again['data_samples'], strict=True
    ):
        boxes = sample.gt_instances.bboxes
        assert image.shape == (3, 96, 160) and torch.equal(boxes, other.gt_instances.bboxes)
        assert boxes.shape == (12, 4) and (boxes[:, 2:] > boxes[:, :2]).all()
        assert (boxes >= 0).all() and (boxes[:, 2:] <= torch.tensor([160, 96])).all()
        sides = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1).sqrt()
        assert sides.min() < 12 and sides.max() > 50
        assert sample.gt_instances.labels.max() < 5
    assert not torch.equal(batch['inputs'][0], batch['inputs'][1])


def test_the_first_batch_of_the_training_data(tmp_path, capsys):
    annotations = dict(images=[], annotations=[], categories=[dict(id=1, name='thing')])
    for index in range(3):
        name = f'{index}.png'
        cv2.imwrite(str(tmp_path / name), np.full((64, 80, 3), 60 * index, np.uint8))
        annotations['images'].append(dict(id=index, file_name=name, height=64, width=80))
        box = dict(id=index + 1, image_id=index, category_id=1, bbox=[8, 8, 20, 30], area=600)
        annotations['annotations'].append(dict(box, iscrowd=0))
    (tmp_path / 'all.json').write_text(json.dumps(annotations))
    config = tmp_path / 'config.py'
    config.write_text(
        f"""
_base_ = ['{CONFIGS}/_base_/models/retinanet_tiny.py']
model = dict(bbox_head=dict(num_classes=1))
train_dataloader = dict(
    batch_size=3,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CocoDataset',
        data_root='{tmp_path}',
        ann_file='all.json',
        data_prefix=dict(img=''),
        metainfo=dict(classes=('thing',)),
        pipeline=[
            dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackDetInputs')
        ],
    ),
)
"""
    )
    text = run(capsys, config, '--data')
    assert 'first batch of the training data' in text
    assert 'Levels (3 images)' in text
    assert 'config has no train_dataloader' in refused(
        capsys, config, '--data', '--cfg-options', 'train_dataloader=None'
    )
    assert 'bbox_head.num_classes is 2, but train_dataloader.dataset has 1 classes' in refused(
        capsys, config, '--data', '--cfg-options', 'model.bbox_head.num_classes=2'
    )


@pytest.mark.parametrize('arguments', [('--batch', '0'), ('--size', '0', '64')])
def test_sizes_start_at_one(capsys, arguments):
    with pytest.raises(SystemExit):
        check_config_main([str(RETINA), *arguments])
    assert 'expected at least 1, got 0' in capsys.readouterr().err


def test_a_head_needs_a_class(capsys):
    text = refused(capsys, RETINA, '--cfg-options', 'model.bbox_head.num_classes=0')
    assert 'num_classes: expected at least 1, got 0' in text


def test_tables_are_not_squeezed_in_a_pipe(capsys, monkeypatch):
    monkeypatch.delenv('COLUMNS')
    assert 'SmoothL1Loss' in run(capsys, RETINA, *SMALL)


@pytest.mark.parametrize(
    ('name', 'text', 'message'),
    [
        ('config.md', '# no config', 'expected a config that ends in .py'),
        ('config.py', 'model = dict(', "'(' was never closed"),
        (
            'config.py',
            "custom_imports = dict(imports=['no_such_package.losses'])",
            "No module named 'no_such_package'",
        ),
    ],
)
def test_a_file_that_is_no_config(tmp_path, capsys, name, text, message):
    (tmp_path / name).write_text(text)
    shown = refused(capsys, tmp_path / name)
    assert shown.startswith(f'ConfigError: {tmp_path / name}') and message in shown


def test_both_stages_of_a_two_stage_detector(capsys):
    text = run(capsys, RETINA.parents[1] / 'faster_rcnn' / 'faster_rcnn_tiny_digits.py')
    for word in ('RPNHead:', 'RoIHead:', 'rpn_head.rpn_conv', 'roi_head.bbox_head', 'proposals'):
        assert word in text
    assert text.count('RandomSampler') == 2 and 'num=256' in text and 'num=64' in text
    assert 'builds and trains' in text and 'no gradient' not in text
