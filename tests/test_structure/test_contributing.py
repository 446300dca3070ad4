"""The code of CONTRIBUTING.md: each block is run, registers its part, and the part trains."""

import re
import subprocess
import sys
import textwrap
import types

import pytest

from registry_losses.config import load_config
from registry_losses.registry import MODELS, TASK_UTILS
from registry_losses.testing.pairings import head_config, problems_of

from .source import ROOT

PAGE = (ROOT / 'CONTRIBUTING.md').read_text(encoding='utf-8')
BLOCK = re.compile(r'^( *)```(\w+)\n(.*?)^\1```', re.M | re.S)
BLOCKS = [(m.start(), m[2], textwrap.dedent(m[3])) for m in BLOCK.finditer(PAGE)]
PYTHON = [(start, code) for start, language, code in BLOCKS if language == 'python']
MODULES = [(start, code) for start, code in PYTHON if 'register_module' in code]
CONFIGS = [code for _, code in PYTHON if 'register_module' not in code]


def file_named_before(start: int) -> str:
    """The file that the text says the block is: the last one named before it."""
    return re.findall(r'Write `(registry_losses/\w+/\w+\.py)`', PAGE[:start])[-1]


@pytest.fixture(scope='module')
def parts():
    """The three parts of the page, registered for as long as these tests run."""
    before = [(registry, dict(registry.module_dict)) for registry in (MODELS, TASK_UTILS)]
    names = []
    for start, code in MODULES:
        file = file_named_before(start)
        name = file.removesuffix('.py').replace('/', '.')
        module = types.ModuleType(name)
        module.__package__ = name.rpartition('.')[0]
        sys.modules[name] = module
        names.append(name)
        exec(compile(code, file, 'exec'), module.__dict__)
    yield [sys.modules[name] for name in names]
    for registry, known in before:
        registry.module_dict.clear()
        registry.module_dict.update(known)
    for name in names:
        del sys.modules[name]


def test_there_is_a_loss_an_assigner_and_a_head(parts):
    rooms = [module.__package__.rpartition('.')[2] for module in parts]
    assert rooms == ['losses', 'assigners', 'heads']
    assert MODELS.get('MyLoss').kinds == ('box_encoded',)
    assert TASK_UTILS.get('MyAssigner') and MODELS.get('MyHead')


def test_the_loss_trains(parts):
    config = head_config('retinanet')
    config['bbox_head']['loss_bbox'] = dict(type='MyLoss', loss_weight=2.0)
    assert problems_of(config) == []


@pytest.mark.parametrize('head', ['retinanet', 'fcos', 'yolov3'])
def test_the_assigner_trains(parts, head):
    config = head_config(head)
    config['train_cfg']['assigner'] = dict(type='MyAssigner')
    assert problems_of(config) == []


def test_the_head_trains(parts):
    config = head_config('retinanet')
    own = config['bbox_head']
    kept = ('num_classes', 'in_channels', 'prior_generator', 'bbox_coder', 'loss_cls', 'loss_bbox')
    config['bbox_head'] = dict(type='MyHead', **{key: own[key] for key in kept})
    assert problems_of(config) == []


def test_the_configs_load(parts, tmp_path):
    assert CONFIGS, 'the page shows how to name a head in a config'
    for code in CONFIGS:
        folder = ROOT / 'configs' / 'retinanet'
        path = tmp_path / 'my_digits.py'
        path.write_text(code.replace('../retinanet', str(folder)))
        assert load_config(path).model.bbox_head.type == 'MyHead'


def test_the_short_configs_name_registered_parts(parts):
    for name in re.findall(r"=dict\(type='(My\w+)'\)", PAGE):
        assert any(name in registry for registry in (MODELS, TASK_UTILS)), name


def test_make_has_every_target_that_the_page_names():
    shell = '\n'.join(code for _, language, code in BLOCKS if language == 'bash')
    targets = set(re.findall(r'^make (\S+)', shell, re.M)) | set(re.findall(r'`make (\w+)', PAGE))
    assert {'env', 'test', 'lint', 'grid', 'docs'} <= targets
    for target in targets:
        words = ['make', '-n', target, f'PYTHON={sys.executable}']
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, f'make {target}: {done.stderr}'
