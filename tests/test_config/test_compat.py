"""OpenMMLab's keys are translated or refused with the reason."""

from pathlib import Path

import pytest

from registry_losses.config import OLD_TOP_LEVEL_KEYS, TABLE, describe_table, load_config
from registry_losses.config.compat import REFUSED_TYPES, TYPE_NAMES
from registry_losses.config.reading import find_type
from registry_losses.errors import ConfigError
from registry_losses.registry import MODELS

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
    detector = check(model('prior_match_thr=3., near_neighbor_thr=.4')).model
    assigner = dict(type='YOLOV5Assigner', prior_match_thr=3.0, near_neighbor_thr=0.4)
    assert detector.train_cfg.assigner == assigner


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
    with pytest.raises(ConfigError, match=rf'{key}: (write|use)'):
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


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ("metric='bbox'", {}),
        ("metric=['bbox'], metric_items=None, use_mp_eval=True, sort_categories=False", {}),
        ('proposal_nums=(1, 10)', dict(max_dets=(1, 10))),
        ("file_client_args=dict(backend='disk')", {}),
    ],
)
def test_evaluator_keys(check, text, expected):
    cfg = check(f"val_evaluator = dict(type='CocoMetric', ann_file='a.json', {text})")
    assert cfg.val_evaluator == dict(type='CocoMetric', ann_file='a.json', **expected)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ("metric='segm'", r'val_evaluator\.metric: this metric evaluates boxes only'),
        ("metric=['bbox', 'proposal']", 'evaluates boxes only'),
        ("metric_items=['mAP']", 'all figures are always reported'),
        ("file_client_args=dict(backend='petrel')", 'write backend_args'),
    ],
)
def test_evaluator_keys_that_are_refused(check, text, message):
    with pytest.raises(ConfigError, match=message):
        check(f"val_evaluator = dict(type='CocoMetric', ann_file='a.json', {text})")


def test_the_metric_of_voc(check):
    cfg = check("val_evaluator = dict(type='VOCMetric', metric='mAP', proposal_nums=(100,))")
    assert cfg.val_evaluator == dict(type='VOCMetric')


def test_arguments_of_mmdets_anchor_heads():
    """The SSDHead, RetinaSepBNHead and FCOSHead of mmdet, as its configs write them."""
    options = {
        'model.bbox_head.stacked_convs': 0,
        'model.bbox_head.feat_channels': 256,
        'model.bbox_head.use_depthwise': False,
        'model.bbox_head.norm_cfg': None,
    }
    load_config('registry_losses::ssd/ssd_tiny_digits', options=options)
    with pytest.raises(ConfigError, match=r'bbox_head\.stacked_convs: this head has no tower'):
        load_config(
            'registry_losses::ssd/ssd_tiny_digits', options={'model.bbox_head.stacked_convs': 2}
        )


FCOS = 'registry_losses::fcos/fcos_r50_fpn_coco'


def test_settings_of_an_assigner_join_those_of_the_detector():
    options = {'model.bbox_head.center_sampling': True, 'model.bbox_head.center_sample_radius': 2.0}
    model = load_config(FCOS, options=options).model
    assert model.train_cfg.assigner.center_sample_radius == 2.0
    assert 'train_cfg' not in model.bbox_head
    options = {
        'model.bbox_head.center_sampling': True,
        'model.train_cfg.assigner.center_sampling': False,
    }
    with pytest.raises(ConfigError, match='center_sampling: True stands against False in train'):
        load_config(FCOS, options=options)
    options['model.train_cfg.assigner'] = dict(type='ATSSAssigner')
    del options['model.train_cfg.assigner.center_sampling']
    with pytest.raises(ConfigError, match=r'a setting of FCOSAssigner, but .* is ATSSAssigner'):
        load_config(FCOS, options=options)


def mmdet_head(name, **keys):
    """A detector with a head as mmdet writes it: no priors, no coder."""
    node = dict(type=name, num_classes=4, in_channels=8, feat_channels=8, stacked_convs=1, **keys)
    return dict(type='SingleStageDetector', backbone=dict(type='OpenModule'), bbox_head=node)


@pytest.mark.parametrize('assigner', [None, 'MaxIoUAssigner', 'ATSSAssigner'])
def test_fcos_as_mmdet_writes_it(check, assigner):
    """The head of mmdet makes priors, coder and losses, and never reads train_cfg.assigner."""
    detector = mmdet_head(
        'FCOSHead', strides=[8, 16, 32], norm_on_bbox=True, norm_cfg=dict(type='BN')
    )
    if assigner != 'ATSSAssigner':
        detector['bbox_head'].update(center_sampling=True, regress_ranges=[(-1, 64)] * 3)
    if assigner:
        detector['train_cfg'] = dict(assigner=dict(type=assigner), pos_weight=-1, debug=False)
        if assigner == 'MaxIoUAssigner':
            detector['train_cfg']['assigner'].update(pos_iou_thr=0.5, neg_iou_thr=0.4)
    model = check(f'model = {detector!r}').model
    head = MODELS.build({**model.bbox_head, 'train_cfg': model.train_cfg})
    assert head.prior_generator.strides == [(8, 8), (16, 16), (32, 32)]
    assert head.bbox_coder.normalize_by_stride
    assert type(head.loss_centerness).__name__ == 'CrossEntropyLoss'
    if assigner == 'ATSSAssigner':  # chosen for this project: left alone
        assert type(head.assigner).__name__ == 'ATSSAssigner'
    else:
        assert type(head.assigner).__name__ == 'FCOSAssigner'
        assert head.assigner.center_sampling and head.assigner.regress_ranges[2] == (-1, 64)


def test_yolox_as_mmdet_writes_it(check):
    loss = dict(type='CrossEntropyLoss', use_sigmoid=True, reduction='sum', loss_weight=1.0)
    detector = mmdet_head('YOLOXHead', strides=(8, 16, 32), loss_cls=loss, loss_obj=loss)
    detector.update(type='YOLOX', train_cfg=dict(assigner=dict(type='SimOTAAssigner')))
    model = check(f'model = {detector!r}').model
    head = MODELS.build({**model.bbox_head, 'train_cfg': model.train_cfg})
    assert head.bbox_coder.from_corner and head.loss_cls.reduction == 'mean'
    assert head.loss_bbox.loss_weight == 5.0


def test_what_mmdets_runtime_files_bear(check):
    """Without ``draw`` its hook draws nothing; test-time augmentation waits for its --tta."""
    hooks = "default_hooks = dict(visualization=dict(type='DetVisualizationHook'{}))"
    cfg = check(hooks.format('') + "\ntta_model = dict(type='DetTTAModel')\ncudnn_benchmark = True")
    assert cfg.default_hooks.visualization is None and 'tta_model' not in cfg
    with pytest.raises(ConfigError, match=r'visualization: .* write dict.*DrawPredictionsHook'):
        check(hooks.format(', draw=True'))


def test_retina_sep_bn_head_and_anchor_head(tmp_path):
    path = tmp_path / 'c.py'
    base = "_base_ = ['registry_losses::retinanet/retinanet_r50_fpn_coco.py']\n"
    path.write_text(
        base + "model = dict(bbox_head=dict(type='RetinaSepBNHead', num_ins=5,"
        " norm_cfg=dict(type='BN')))"
    )
    head = load_config(path).model.bbox_head
    assert (head.type, head.norm_per_level) == ('RetinaHead', 5)
    path.write_text(base + "model = dict(bbox_head=dict(type='AnchorHead'))")
    with pytest.raises(ConfigError, match='AnchorHead: it is a base class; RetinaHead'):
        load_config(path)
