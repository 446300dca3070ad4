"""A key that no part reads is an error with its path and the nearest valid key."""

import re

import pytest
from mmengine.config import Config

from registry_losses.config import accepted_keys, check_config, load_config, resolve_config
from registry_losses.errors import ConfigError, UnknownTypeError
from registry_losses.registry import MODELS, TASK_UTILS

from .conftest import CheckedHead, CheckedHeadChild, OpenModule

HEAD = "bbox_head=dict(type='CheckedHead', num_classes=3, {})"
MODEL = "model = dict(type='CheckedDetector', " + HEAD + ', {})'


def model(head='', detector=''):
    return MODEL.format(head, detector)


def test_a_sound_config_passes(check):
    cfg = check(
        model(
            "train_cfg=dict(assigner=dict(type='CheckedAssigner', pos_thr=.4)),"
            'test_cfg=dict(score_thr=.1, nms=dict(type="nms", iou_threshold=.5))'
        )
    )
    assert cfg.model.bbox_head.num_classes == 3
    assert cfg.default_scope == 'registry_losses'


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (
            model('num_clases=3'),
            r'model\.bbox_head\.num_clases: CheckedHead .*Nearest: num_classes',
        ),
        (model(detector='neck=None'), r'model\.neck: CheckedDetector does not read'),
        (
            model("train_cfg=dict(asigner=dict(type='CheckedAssigner'))"),
            r'model\.bbox_head\.train_cfg\.asigner: .*Nearest: assigner',
        ),
        (
            model(detector='train_cfg=dict(samplr=None)'),
            r'model\.train_cfg\.samplr: .*Nearest: sampler',
        ),
        (
            model(detector='test_cfg=dict(score_th=.1)'),
            r'model\.test_cfg\.score_th: .*Nearest: score_thr',
        ),
        (
            model("train_cfg=dict(assigner=dict(type='CheckedAssigner', pos_th=.4))"),
            r'model\.bbox_head\.train_cfg\.assigner\.pos_th: .*Nearest: pos_thr',
        ),
        (
            model("train_cfg=dict(assigner=dict(type='CheckedAsigner'))"),
            r'train_cfg\.assigner\.type: unknown type .*Scopes searched: registry_losses'
            r' \(\d+ names\), mmengine.*Nearest: CheckedAssigner',
        ),
        ("optim_wraper = dict(type='X')", r'optim_wraper: no part reads.*Nearest: optim_wrapper'),
        ('train_dataloader = dict(batchsize=2)', r'train_dataloader\.batchsize.*batch_size'),
        *(
            (
                f'{name}_dataloader = dict({key}={value})',
                rf'^{name}_dataloader\.{key}: expected a whole .* of at least {low}, got {got}$',
            )
            for name, key, value, low, got in (
                ('train', 'batch_size', '0', 1, '0'),
                ('val', 'batch_size', '-2', 1, '-2'),
                ('test', 'batch_size', '1.5', 1, r'1\.5'),
                ('train', 'batch_size', "'4'", 1, "'4'"),
                ('train', 'batch_size', 'True', 1, 'True'),
                ('val', 'num_workers', '-1', 0, '-1'),
            )
        ),
        (
            "optim_wrapper = dict(optimizer=dict(type='SGD', learning_rate=1))",
            r'optim_wrapper\.optimizer\.learning_rate: SGD',
        ),
        (
            "optim_wrapper = dict(optimizer=dict(type='SGD', lr=1), clip_grad=dict(maxnorm=1))",
            r'optim_wrapper\.clip_grad\.maxnorm.*Nearest: max_norm',
        ),
        (
            "optim_wrapper = dict(optimizer=dict(type='SGD', lr=1), clip_grad=dict(max_norm='x'))",
            r"optim_wrapper\.clip_grad\.max_norm: expected a number, got 'x'",
        ),
        (
            "optim_wrapper = dict(optimizer=dict(type='SGD', lr=1),"
            ' paramwise_cfg=dict(norm_decay=0))',
            r'paramwise_cfg\.norm_decay.*norm_decay_mult',
        ),
        (
            "param_scheduler = [dict(type='MultiStepLR', milestone=[1])]",
            r'param_scheduler\[0\]\.milestone.*Nearest: milestones',
        ),
        (
            "default_hooks = dict(checkpoint=dict(type='CheckpointHook', intervall=1))",
            r'default_hooks\.checkpoint\.intervall.*Nearest: interval',
        ),
        (
            'train_cfg = dict(by_epoch=True, max_epoch=3)',
            r'train_cfg\.max_epoch: EpochBasedTrainLoop.*Nearest: max_epochs',
        ),
        ('randomness = dict(sed=1)', r'randomness\.sed.*Nearest: seed'),
        ("val_evaluator = dict(type='CocoMetrc')", r'val_evaluator\.type: unknown type'),
        ("custom_hooks = [dict(type='EMAHok')]", r'custom_hooks\[0\]\.type.*Nearest: EMAHook'),
        ('model = 3', None),
    ],
)
def test_keys_that_no_part_reads(check, text, message):
    if message is None:  # not a dict: building says so, there is no key to name
        check(text)
        return
    with pytest.raises(ConfigError, match=message):
        check(text)


def test_all_problems_come_at_once(check):
    with pytest.raises(ConfigError) as error:
        check(model('a=1, b=2') + '\nrandomness = dict(c=3)')
    *problems, advice = str(error.value).splitlines()
    assert len(problems) == 3
    assert '_delete_=True' in advice


@pytest.mark.parametrize(
    'text',
    [
        "default_hooks = dict(x=dict(type='EMAHook', momentum=.1, priority='HIGH'), y=None)",
        "optim_wrapper = dict(type='AmpOptimWrapper', optimizer=dict(type='AdamW', lr=1,"
        " betas=(.9, .99)), paramwise_cfg=dict(custom_keys={'a': dict(lr_mult=.1)}),"
        ' clip_grad=dict(max_norm=5))',
        "param_scheduler = dict(type='CosineAnnealingLR', T_max=3, convert_to_iter_based=True)",
        'train_cfg = dict(by_epoch=False, max_iters=3, val_interval=1)',
        "val_evaluator = [dict(type='CocoMetric', ann_file='a')]",
        "visualizer = dict(type='DetVisualizer', vis_backends=[dict(type='LocalVisBackend'),"
        " dict(type='TensorboardVisBackend')])",
        "model = dict(type='OpenModule', whatever=1)",
        "model = dict(type='CheckedHeadChild', num_classes=1, depth=2)",
        "_hidden = 1\nenv_cfg = dict(cudnn_benchmark=True, dist_cfg=dict(backend='nccl'))",
    ],
)
def test_what_passes(check, text):
    check(text)


def test_a_near_miss_is_caught_even_where_anything_goes(check):
    with pytest.raises(ConfigError, match=r'model\.learningrate.*Nearest: learning_rate'):
        check("model = dict(type='OpenModule', learningrate=1)")


def test_accepted_keys():
    assert accepted_keys(CheckedHeadChild).names == accepted_keys(CheckedHead).names | {'depth'}
    assert not accepted_keys(CheckedHeadChild).open
    assert accepted_keys(OpenModule).open
    assert accepted_keys(lambda a, *, b: None).names == {'a', 'b'}


class TestVariables:
    """Top-level variables are helpers only if something reads them."""

    def test_read_in_the_same_file(self, check):
        check("data_root = 'a/'\ntrain_dataloader = dict(batch_size=len(data_root))")

    def test_whatever_its_name(self, check):
        """``optimizer`` and ``data`` were keys of OpenMMLab once; here they are variables."""
        text = "optimizer = dict(type='SGD', lr=0.1)\noptim_wrapper = dict(optimizer=optimizer)"
        assert check(text).optim_wrapper.optimizer.lr == 0.1

    def test_read_from_a_base(self, check):
        text = "_base_ = 'one.py'\nload_from = _base_.name\n"
        assert check(text, one="name = 'x.pth'").load_from == 'x.pth'
        check("_base_ = ['one.py']\nload_from = '{{_base_.name}}'\n", one="name = 'x.pth'")

    def test_overriding_what_a_base_has_used_already(self, check):
        base = "data_root = 'a/'\nload_from = data_root + 'x.pth'\n"
        check("_base_ = 'one.py'", one=base)
        with pytest.raises(
            ConfigError, match=r'data_root: set in .*config\.py, but only .*one\.py'
        ):
            check("_base_ = 'one.py'\ndata_root = 'b/'", one=base)

    def test_an_option_that_comes_too_late(self, check):
        text = "data_root = 'a/'\nload_from = data_root + 'x.pth'\n"
        with pytest.raises(ConfigError, match='--cfg-options data_root: no part reads'):
            check(text, options={'data_root': 'b/'})

    def test_unread(self, check):
        with pytest.raises(ConfigError, match='bach_size: no part reads this key'):
            check('bach_size = 3')

    def test_a_dumped_config_loads_again(self, check, tmp_path):
        cfg = check("data_root = 'a/'\nload_from = data_root\n" + model())
        cfg.dump(tmp_path / 'dumped.py')
        assert load_config(tmp_path / 'dumped.py').load_from == 'a/'

    def test_a_config_without_a_file_has_no_helpers(self):
        with pytest.raises(ConfigError, match='bach_size'):
            load_config(Config(dict(bach_size=3)))


def test_more_layers_than_anyone_builds_are_refused():
    options = {'model.bbox_head.stacked_convs': 2**31}
    with pytest.raises(ConfigError, match='stacked_convs: expected at most 1000 layers'):
        load_config('registry_losses::retinanet/retinanet_tiny_digits', options=options)


def test_check_config_takes_a_mapping():
    with pytest.raises(ConfigError, match=r'model\.x'):
        check_config(dict(model=dict(type='CheckedAssigner', x=1)))


class TestUnknownType:
    """Whoever asks a registry, the message is the same."""

    @pytest.mark.parametrize('registry', [MODELS, TASK_UTILS])
    def test_message(self, registry):
        with pytest.raises(UnknownTypeError, match=r'Scopes searched: registry_losses') as error:
            registry.build(dict(type='NoSuchThingAtAll'))
        assert isinstance(error.value, KeyError)
        assert not str(error.value).startswith('"'), 'a KeyError shows the repr otherwise'

    def test_nearest_and_scope(self):
        with pytest.raises(UnknownTypeError, match=r'Nearest: CheckedHead'):
            MODELS.get('CheckedHed')
        with pytest.raises(UnknownTypeError, match=r"Scope 'nowhere' is not there"):
            MODELS.get('nowhere.CheckedHead')

    def test_the_other_registry_is_named(self):
        with pytest.raises(UnknownTypeError, match=r'registered as a task util'):
            MODELS.get('CheckedAssigner')

    def test_membership_does_not_raise(self):
        assert 'CheckedHead' in MODELS
        assert 'registry_losses.CheckedHead' in MODELS
        assert 'NoSuchThing' not in MODELS


def test_resolve_config(tmp_path):
    found = resolve_config('registry_losses::retinanet/retinanet_tiny_digits')
    assert found.name == 'retinanet_tiny_digits.py'
    with pytest.raises(ConfigError, match=re.escape('retinanet/retinanet_tiny_digits.py')):
        resolve_config('registry_losses::retinanet/retinanet_tiny_digit.py')
    (tmp_path / 'right.py').touch()
    with pytest.raises(ConfigError, match=r'Nearest: right\.py'):
        resolve_config(tmp_path / 'righ.py')
    with pytest.raises(ConfigError, match="expected a config file, got ''"):
        resolve_config('')
