"""OpenMMLab's keys are translated or refused with the reason."""

from pathlib import Path

import pytest

from registry_losses.config import OLD_TOP_LEVEL_KEYS, TABLE, describe_table
from registry_losses.config.compat import REFUSED_TYPES, TYPE_NAMES
from registry_losses.config.reading import find_type
from registry_losses.errors import ConfigError

from .test_check import model


@pytest.mark.parametrize('value', [-1, 0, 1, 1.0])
def test_pos_weight_that_changes_nothing_is_dropped(check, value):
    cfg = check(model(detector=f'train_cfg=dict(pos_weight={value}, debug=False)'))
    assert cfg.model.train_cfg == {}


def test_pos_weight_is_refused_with_what_to_do(check):
    with pytest.raises(ConfigError, match=r'model\.train_cfg\.pos_weight: .*class_weight'):
        check(model(detector='train_cfg=dict(pos_weight=2)'))


def test_allowed_border(check):
    assert check(model(detector='train_cfg=dict(allowed_border=-1)')).model.train_cfg == {}
    with pytest.raises(ConfigError, match='allowed_border'):
        check(model(detector='train_cfg=dict(allowed_border=0)'))


def test_decoded_boxes(check):
    head = check(model('reg_decoded_bbox=True')).model.bbox_head
    assert head.loss_terms == dict(loss_bbox=dict(kind='box_decoded'))
    assert 'reg_decoded_bbox' not in head
    assert 'loss_terms' not in check(model('reg_decoded_bbox=False')).model.bbox_head


def test_renamed(check):
    head = check(model('anchor_generator=None')).model.bbox_head
    assert 'prior_generator' in head
    with pytest.raises(ConfigError, match='anchor_generator: stands beside prior_generator'):
        check(model('anchor_generator=None, prior_generator=None'))


def test_mmyolo_head_module_is_merged(check):
    text = (
        "model = dict(type='CheckedDetector', bbox_head=dict(type='CheckedHead',"
        " head_module=dict(type='Whatever', num_classes=7)))"
    )
    assert check(text).model.bbox_head.num_classes == 7


@pytest.mark.parametrize(('mode', 'name'), [('ciou', 'CIoULoss'), ('siou', 'SIoULoss')])
def test_mmyolo_box_loss(check, mode, name):
    loss = f"dict(type='IoULoss', iou_mode='{mode}', bbox_format='xywh', return_iou=True, eps=1e-7)"
    assert check(model(f'loss_cls={loss}')).model.bbox_head.loss_cls == dict(type=name, eps=1e-7)
    with pytest.raises(ConfigError, match='iou_mode: expected one of iou, giou'):
        check(model(f'loss_cls={loss}'.replace(mode, 'wiou')))


def test_mmyolo_assignment_moves_to_the_assigner(check):
    head = check(model('prior_match_thr=3., near_neighbor_thr=.4')).model.bbox_head
    assigner = dict(type='YOLOV5Assigner', prior_match_thr=3.0, near_neighbor_thr=0.4)
    assert head.train_cfg.assigner == assigner


def test_a_key_that_the_class_reads_is_left_alone(check):
    """OpenModule takes anything, so nothing is translated for it."""
    cfg = check("model = dict(type='OpenModule', reg_decoded_bbox=True)")
    assert cfg.model.reg_decoded_bbox is True


def test_detector_names(check):
    text = (
        "model = dict(type='RetinaNet', bbox_head=dict(type='CheckedHead', num_classes=1),"
        " backbone=dict(type='OpenModule'))"
    )
    assert check(text).model.type == 'SingleStageDetector'


@pytest.mark.parametrize('key', OLD_TOP_LEVEL_KEYS)
def test_keys_of_the_2_x_era_name_their_place(check, key):
    with pytest.raises(ConfigError, match=rf'{key}: (write|use|test-time)'):
        check(f'{key} = dict()')


def test_the_table_says_what_it_does():
    assert all(len(e.effect) >= 7 for e in TABLE)
    assert len({(e.holder, e.key) for e in TABLE}) == len(TABLE)


def test_the_page_is_up_to_date():
    page = Path(__file__).resolve().parents[2] / 'docs' / 'openmmlab_keys.md'
    assert page.read_text() == describe_table()


def test_a_detectors_name_elsewhere_is_an_unknown_type(check):
    with pytest.raises(ConfigError, match=r"train_cfg\.assigner\.type: .*'ATSS'.*ATSSAssigner"):
        check(model("train_cfg=dict(assigner=dict(type='ATSS'))"))


@pytest.mark.parametrize('name', REFUSED_TYPES)
def test_detectors_without_a_counterpart_are_refused(check, name):
    with pytest.raises(ConfigError, match=rf'model\.type: {name}: {REFUSED_TYPES[name]}'):
        check(f"model = dict(type='{name}', backbone=dict(type='OpenModule'))")


def test_names_lead_to_what_there_is():
    assert all(find_type(name) is not None for name in TYPE_NAMES.values())
