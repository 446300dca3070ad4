"""Config files of every kind: what is read, and errors that name file and line."""

import re
from pprint import pformat

import pytest

from registry_losses.config import load_config, resolve_config
from registry_losses.errors import ConfigError

DIGITS = 'registry_losses::retinanet/retinanet_tiny_digits.py'


@pytest.fixture
def write(tmp_path):
    """A function that writes files and returns the path of the last."""

    def make(**files):
        for name, text in files.items():
            stem, _, suffix = name.partition('__')
            path = tmp_path / f'{stem}.{suffix or "py"}'
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return make


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('x = 1\ny = x / 0\n', r'c\.py:2: ZeroDivisionError'),
        ("load_from = 'a'\nx = dict(\n", r"c\.py:2: '\(' was never closed"),
        ("\n_base_ = ['./nope.py']", r'c\.py:2: _base_: no config file .*nope\.py'),
        ('_base_ = [no_name]', r'c\.py:1: _base_: name .no_name. is not defined'),
        ("_base_ = 'c.py'", r'c\.py: inherits from itself'),
        ("_base_ = 'nowhere::a.py'", r"c\.py:1: _base_: nowhere:: no package 'nowhere'"),
        ("a = 1\nload_from = '{{$RL_NOT_SET}}'", r'c\.py:2: .*RL_NOT_SET is not set'),
        ("load_from = '{{$RL_NOT_SET:}}'", r'c\.py:1: .*RL_NOT_SET is not set'),
        ('import no_such_module_at_all', r'c\.py:1: cannot import .*no_such_module_at_all'),
        ('with read_base():\n    from .nope import *', r'c\.py:2: no config file .*nope\.py'),
        ('with read_base():\n    x = 1', r'c\.py:2: within `with read_base\(\):` only'),
        ("_base_ = 'base.py'\nwork_dir = dict(a=1)", r'c\.py: work_dir=.*_delete_=True'),
        ("_base_ = ['base.py', 'other.py']", r"c\.py: its bases .* both define 'work_dir'"),
        (b'\xff\xfe', r'c\.py: cannot be read as text'),
    ],
)
def test_errors_name_file_and_line(write, text, message):
    path = write(base="work_dir = 'w'", other="work_dir = 'v'", c=text)
    with pytest.raises(ConfigError, match=message):
        load_config(path)


@pytest.mark.parametrize(
    ('name', 'text', 'message'),
    [
        ('c__yaml', 'a: [1\nb: 2\n', r'c\.yaml:2: '),
        ('c__json', '{\n"a": }', r'c\.json:2: '),
        ('c__yml', '- a\n- b\n', r'c\.yml: expected keys and values, got list'),
        ('c__yaml', "_base_: b.py\nload_from: '{{_base_.none}}'", r"bases define no 'none'"),
    ],
)
def test_errors_in_other_formats(write, name, text, message):
    with pytest.raises(ConfigError, match=message):
        load_config(write(b="work_dir = 'w'", **{name: text}))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'param_scheduler.5.begin': 3}, 'param_scheduler is a list of 2 entries.*no entry .5'),
        ({'param_scheduler.-1.begin': 3}, 'no entry .-1'),
        ({'param_scheduler.begin': 3}, 'no entry .begin'),
        ({'train_cfg.val_interval.x': 3}, r'train_cfg\.val_interval is 1000, which has no key'),
    ],
)
def test_options_that_lead_nowhere(options, message):
    with pytest.raises(ConfigError, match=f'--cfg-options .*{message}'):
        load_config(DIGITS, options=options)


def test_byte_order_marks_and_our_names_in_base(write):
    path = write(c=b'\xef\xbb\xbf_base_ = ["%s"]\n' % DIGITS.encode())
    assert load_config(path).model.type == 'SingleStageDetector'


def test_environment_variables(write, monkeypatch):
    path = write(c="load_from = '{{$RL_ROOT:/a}}/x.pth'\nrandomness = dict(seed={{'$RL_SEED:3'}})")
    cfg = load_config(path)
    assert (cfg.load_from, cfg.randomness.seed) == ('/a/x.pth', 3)
    monkeypatch.setenv('RL_ROOT', '/b')
    monkeypatch.setenv('RL_SEED', '7')
    cfg = load_config(path)
    assert (cfg.load_from, cfg.randomness.seed) == ('/b/x.pth', 7)
    assert cfg.env_variables == {'RL_ROOT': '/b', 'RL_SEED': '7'}


@pytest.mark.parametrize('module', ['os', 'math', 'os.path', 'json'])
def test_standard_modules(write, module):
    assert load_config(write(c=f'import {module}\nwork_dir = str({module}.__name__)')).work_dir


def test_pure_python(write):
    base = (
        'from registry_losses.losses import FocalLoss\nfrom torch.optim import AdamW\n'
        'loss = dict(type=FocalLoss, gamma=1.0)\n'
        "model = dict(type='OpenModule', x=loss)\n"
        'optim_wrapper = dict(optimizer=dict(type=AdamW, lr=0.1))\n'
    )
    text = (
        'from mmengine.config import read_base\nwith read_base():\n    from .base import *\n'
        'from registry_losses.losses import GIoULoss\n'
        "model['y'] = dict(type=GIoULoss)\nmodel.x.gamma = 1.5\n"
    )
    cfg = load_config(write(base=base, c=text))
    assert cfg.model.x == dict(type='FocalLoss', gamma=1.5)
    assert cfg.model.y.type == 'GIoULoss'
    assert cfg.optim_wrapper.optimizer.type == 'AdamW'
    assert load_config(write(base=base)).model.x.gamma == 1.0, 'the base itself is unchanged'
    copy = write(copy=cfg.pretty_text)
    assert load_config(copy).model == cfg.model


def test_read_base_of_our_own_configs(write):
    text = (
        'from mmengine.config import read_base\nwith read_base():\n'
        '    from registry_losses.configs.retinanet.retinanet_tiny_digits import *\n'
        'model.bbox_head.num_classes = 3\n'
    )
    assert load_config(write(c=text)).model.bbox_head.num_classes == 3


def test_a_dict_under_two_names_is_replaced_under_both(write):
    text = (
        f"_base_ = ['{DIGITS}']\nval_dataloader = dict(dataset=dict(_delete_=True, type='X'))\n"
        'test_dataloader = val_dataloader\n'
    )
    cfg = load_config(write(c=text), check=False)
    assert cfg.test_dataloader.dataset == cfg.val_dataloader.dataset == dict(type='X')


def test_base_values_within_strings(write):
    text = "_base_ = 'b.py'\nload_from = 'x/{{_base_.name}}.pth'\nwork_dir = {{_base_.name}}"
    cfg = load_config(write(b="name = 'n'", c=text))
    assert (cfg.load_from, cfg.work_dir) == ('x/n.pth', 'n')


def test_a_written_out_config_with_helpers_whose_values_went_into_others(write):
    cfg = load_config(DIGITS)
    cfg.base_rate = 0.004  # a helper of arithmetic: its value stands nowhere else
    path = write(copy=cfg.pretty_text)
    assert load_config(path).base_rate == 0.004
    slip = write(slip=cfg.pretty_text.replace('base_rate =', 'optim_wraper ='))
    with pytest.raises(ConfigError, match='optim_wraper: no part reads'):
        load_config(slip)


@pytest.mark.parametrize('name', ['yolo/yolov5_seed_digits', 'ssd/ssd300_vgg16_seed_voc.py'])
def test_names_of_the_release_before(write, name):
    with pytest.warns(DeprecationWarning, match=r'_seed_.* is called .*_paper_'):
        found = resolve_config(f'registry_losses::{name}')
    assert '_paper_' in found.name
    with pytest.warns(DeprecationWarning, match='is called'):
        load_config(write(c=f"_base_ = ['registry_losses::{name}']"))
    with pytest.warns(DeprecationWarning, match=re.escape(found.name)):
        load_config(write(c=f"_base_ = ['{found.parent}/{found.name.replace('paper', 'seed')}']"))


@pytest.mark.parametrize(
    'text',
    [
        "model = dict(test_cfg=dict(score_thr=float('inf')))",
        "model = dict(test_cfg=dict(nms_pre=float('nan')))",
        "from pathlib import Path\nwork_dir = Path('a') / 'b'",
        'import numpy as np\nmodel = dict(bbox_head=dict(num_classes=np.int64(10)))',
        "import torch\noptim_wrapper = dict(type='AmpOptimWrapper', dtype=torch.bfloat16)",
        'with open(__file__) as file:\n    lines = len(file.read())\nresume = lines < 0',
        'class Ours:\n    classes = 10\nmodel = dict(bbox_head=dict(num_classes=Ours.classes))',
    ],
)
def test_what_a_training_writes_loads_again(write, tmp_path, text):
    base = "_base_ = 'registry_losses::retinanet/retinanet_tiny_digits.py'\n"
    cfg = load_config(write(a=base + text))
    copy = tmp_path / 'work' / 'a.py'
    copy.parent.mkdir()
    cfg.dump(copy)
    again = load_config(copy)
    assert pformat(again._cfg_dict.to_dict()) == pformat(cfg._cfg_dict.to_dict())


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('import sys\nsys.exit(3)', 'a.py:2: SystemExit: 3'),
        ('x = []\nx.append(x)\nwork_dir = x', 'a.py: a list or dict in it contains itself'),
        ("text = 'x'", r'a\.py: text: this name is taken'),
        (
            'from functools import partial\nmodel = dict(type=partial(dict, a=1))',
            'write its arguments beside the type',
        ),
    ],
)
def test_files_that_leave_nothing_to_load(write, text, message):
    with pytest.raises(ConfigError, match=message):
        load_config(write(a=text))
