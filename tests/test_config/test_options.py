"""Command line values become what Python would read, and nothing is run."""

import argparse
from pathlib import Path

import pytest

from registry_losses.config import ConfigOption, load_config, parse_value
from registry_losses.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / 'configs'


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('1', 1),
        ('-2.5', -2.5),
        ('3e-4', 3e-4),
        ('true', True),
        ('False', False),
        ('None', None),
        ('Adam', 'Adam'),
        ('"Adam"', 'Adam'),
        ('', ''),
        ('a/b.pth', 'a/b.pth'),
        ('work_dirs/x-1', 'work_dirs/x-1'),
        ('registry_losses::a', 'registry_losses::a'),
        ('1,2', [1, 2]),
        ('a,b/c', ['a', 'b/c']),
        ('[1, 2]', [1, 2]),
        ('(1,2)', (1, 2)),
        ('[(1, 2), [a, b]]', [(1, 2), ['a', 'b']]),
        ("dict(type='X', a=[1, dict(b=None)])", {'type': 'X', 'a': [1, {'b': None}]}),
        ("[dict(type='A'), dict(type='B')]", [{'type': 'A'}, {'type': 'B'}]),
        ("{'a': 1, 2: -3}", {'a': 1, 2: -3}),
    ],
)
def test_values(text, value):
    parsed = parse_value(text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    'text', ['[1, 2', "dict(type=__import__('os'))", '[open(1)]', 'dict(**a)', '{**a}']
)
def test_brackets_that_cannot_be_read_are_refused(text):
    with pytest.raises(ConfigError, match='cannot read'):
        parse_value(text)


def test_a_call_outside_brackets_is_text_and_not_run():
    assert parse_value('print(1)') == 'print(1)'


def test_options_add_up():
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOption)
    args = parser.parse_args(['--cfg-options', 'a.b=1', 'c=x=y', '--cfg-options', 'd=[1]'])
    assert args.cfg_options == {'a.b': 1, 'c': 'x=y', 'd': [1]}
    with pytest.raises(SystemExit):
        parser.parse_args(['--cfg-options', 'novalue'])


def test_a_node_of_another_type_takes_the_old_ones_place():
    retinanet = CONFIGS / 'retinanet' / 'retinanet_tiny_digits.py'
    swapped = load_config(
        retinanet, options={'model.train_cfg.assigner': dict(type='ATSSAssigner', topk=5)}
    )
    assert swapped.model.train_cfg.assigner == dict(type='ATSSAssigner', topk=5)
    changed = load_config(
        retinanet,
        options={'model.train_cfg.assigner': dict(type='MaxIoUAssigner', neg_iou_thr=0.3)},
    )
    assert changed.model.train_cfg.assigner.pos_iou_thr == 0.5
    assert changed.model.train_cfg.assigner.neg_iou_thr == 0.3


def test_a_missing_key_is_named():
    retinanet = CONFIGS / 'retinanet' / 'retinanet_tiny_digits.py'
    with pytest.raises(ConfigError, match=r'assigner.neg_iou_thr: GridAssigner needs this key'):
        load_config(retinanet, options={'model.train_cfg.assigner': dict(type='GridAssigner')})
