"""Third-party components arrive by entry point or by ``custom_imports``."""

import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from registry_losses import plugins
from registry_losses.commands.plot_losses import plot_losses_main
from registry_losses.plugins import load_plugins
from registry_losses.registry import MODELS, TASK_UTILS

PROJECT = Path(__file__).resolve().parents[2] / 'projects' / 'example_plugin'

# Run where the plugin's installed folder is on the path.
USE_IT = """
import torch
from registry_losses.engine import build_model
from registry_losses.plugins import load_plugins
from registry_losses.registry import MODELS, TASK_UTILS

assert 'LogCoshLoss' not in MODELS, 'nothing loads before it is asked for'
found = {p.name: p for p in load_plugins()}
assert found['rl_example_plugin'].error is None, found
assert found['rl_example_plugin'].distribution == 'rl-example-plugin'
assert load_plugins() == list(found.values())

model = build_model(
    'registry_losses::retinanet/retinanet_tiny_digits.py',
    options={
        'model.train_cfg.assigner': dict(_delete_=True, type='NearestPriorsAssigner', k=4),
        'model.bbox_head.loss_bbox': dict(_delete_=True, type='registry_losses.LogCoshLoss'),
    },
)
assert type(model.bbox_head.loss_bbox).__name__ == 'LogCoshLoss'
assert type(model.bbox_head.assigner).__name__ == 'NearestPriorsAssigner'

from mmengine.structures import InstanceData
from registry_losses.structures import DetDataSample
sample = DetDataSample(metainfo=dict(img_shape=(64, 64), batch_input_shape=(64, 64), img_id=1))
sample.gt_instances = InstanceData(
    bboxes=torch.tensor([[8.0, 8, 24, 30], [20, 20, 60, 60]]), labels=torch.tensor([1, 2])
)
optimizer = torch.optim.Adam(model.parameters(), 2e-3)
totals = []
for _ in range(12):
    losses = model(torch.ones(1, 3, 64, 64), [sample], mode='loss')
    total = sum(v for k, v in losses.items() if 'loss' in k)
    optimizer.zero_grad()
    total.backward()
    optimizer.step()
    totals.append(float(total.detach()))
assert torch.isfinite(torch.tensor(totals)).all() and totals[-1] < 0.8 * totals[0], totals
"""


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    """The example plugin as pip installs it, in a folder of its own."""
    target = tmp_path_factory.mktemp('site')
    command = ['install', '-q', '--no-deps', '--no-build-isolation', '--target', target]
    source = tmp_path_factory.mktemp('source') / 'example_plugin'
    shutil.copytree(PROJECT, source)  # building leaves files behind
    done = subprocess.run(
        [sys.executable, '-m', 'pip', *map(str, command), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture
def nothing_loaded(monkeypatch):
    """Plugins are loaded anew in this test, and forgotten after it."""

    def forget():
        names = [name for name in sys.modules if name.startswith('rl_example_plugin')]
        return {name: sys.modules.pop(name) for name in names}

    monkeypatch.setattr(plugins, '_loaded', {})
    for registry in (MODELS, TASK_UTILS):
        monkeypatch.setattr(registry, '_module_dict', dict(registry.module_dict))
        for name in ('LogCoshLoss', 'NearestPriorsAssigner'):
            registry.module_dict.pop(name, None)
    before = forget()
    yield
    forget()
    sys.modules.update(before)


def test_an_installed_package_registers_and_trains(installed, monkeypatch, nothing_loaded):
    monkeypatch.syspath_prepend(str(installed))
    exec(compile(USE_IT, 'use_it.py', 'exec'), {})


def test_the_tools_know_what_is_installed(installed, tmp_path, monkeypatch, nothing_loaded):
    """Without a config that names it: the loss plotter finds the plugin's loss."""
    monkeypatch.syspath_prepend(str(installed))
    with pytest.raises(SystemExit):
        plot_losses_main(['LogCosLoss', '--out', str(tmp_path / 'l.png')])
    assert not list(tmp_path.iterdir())
    plot_losses_main(['LogCoshLoss', 'L1Loss', '--out', str(tmp_path / 'l.png')])
    assert (tmp_path / 'l.png').stat().st_size > 5000


def test_a_plugin_that_fails_is_named_and_does_not_stop_the_others(
    installed, tmp_path, monkeypatch, nothing_loaded
):
    metadata = tmp_path / 'broken-1.0.dist-info'
    metadata.mkdir()
    (metadata / 'METADATA').write_text('Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n')
    (metadata / 'entry_points.txt').write_text('[registry_losses.plugins]\nbad = broken_module\n')
    (tmp_path / 'broken_module.py').write_text('raise OSError("no licence")\n')
    for folder in (installed, tmp_path):
        monkeypatch.syspath_prepend(str(folder))
    with pytest.warns(UserWarning, match=r"plugin 'bad' \(broken_module, .*'broken'\)") as caught:
        found = {p.name: p.error for p in load_plugins()}
        load_plugins()
    assert found == {'bad': 'OSError: no licence', 'rl_example_plugin': None}
    assert len([w for w in caught if 'bad' in str(w.message)]) == 1, 'once'
    assert 'LogCoshLoss' in MODELS


class FakeEntryPoint:
    """An entry point without an installed package."""

    dist = None

    def __init__(self, name, load):
        self.name, self.value, self.load = name, f'{name}:register', load


def test_a_function_is_called_once(monkeypatch):
    calls = []
    point = FakeEntryPoint('callable', lambda: lambda: calls.append(1))
    monkeypatch.setattr(plugins, '_entry_points', lambda: [point])
    monkeypatch.setattr(plugins, '_loaded', {})
    load_plugins()
    load_plugins()
    assert calls == [1]


def test_custom_imports_that_fail_raise(monkeypatch):
    monkeypatch.setattr(plugins, '_entry_points', list)
    with pytest.raises(ImportError, match='no_such_module'):
        load_plugins(dict(custom_imports=dict(imports=['no_such_module'])))
    with warnings.catch_warnings(record=True):
        warnings.simplefilter('always')
        failed = dict(imports=['no_such_module'], allow_failed_imports=True)
        load_plugins(dict(custom_imports=failed))


class TestExampleAssigner:
    """The plugin's own rule, against a double loop."""

    @pytest.fixture(autouse=True)
    def on_the_path(self, monkeypatch):
        monkeypatch.syspath_prepend(str(PROJECT))

    def test_pairs(self):
        import torch

        from registry_losses.registry import TASK_UTILS
        from registry_losses.structures import GroundTruth, Priors

        load_plugins(dict(custom_imports=dict(imports=['rl_example_plugin'])))
        generator = torch.Generator().manual_seed(0)
        corner = torch.rand(40, 2, generator=generator) * 80
        size = torch.rand(40, 2, generator=generator) * 20 + 4
        priors = Priors(boxes=torch.cat([corner, corner + size], 1), strides=torch.ones(40, 2))
        boxes = [torch.cat([corner[:3] + 1, corner[:3] + size[:3]], 1), torch.zeros(0, 4)]
        labels = [torch.arange(3), torch.zeros(0, dtype=torch.long)]
        gt = GroundTruth.from_lists(boxes, labels, [(100, 100), (100, 100)])
        result = TASK_UTILS.build(dict(type='NearestPriorsAssigner', k=5))(priors, gt)

        wanted = {}
        for m, box in enumerate(boxes[0]):
            w, h = (box[2:] - box[:2]).tolist()
            scale = (w * h) ** 0.5
            center = (box[:2] + box[2:]) / 2
            rows = []
            for n in range(40):
                place = float((center - (priors.boxes[n, :2] + priors.boxes[n, 2:]) / 2).norm())
                ratio = float(size[n].prod()) ** 0.5 / scale
                rows.append((place / scale + abs(torch.tensor(ratio).log().item()), n))
            for distance, n in sorted(rows)[:5]:
                wanted[n] = min(wanted.get(n, (9e9, -1)), (distance, m))
        expected = sorted((n, m) for n, (_, m) in wanted.items())
        assert list(zip(result.prior.tolist(), result.gt.tolist())) == expected
        assert result.image.tolist() == [0] * len(expected)

    def test_loss(self):
        import torch
        from rl_example_plugin import log_cosh_loss

        x = torch.tensor([0.0, 1.0, -2.0, 300.0])
        expected = [0.0, 0.4337808, 1.3250027, 300 - 0.6931472]
        assert log_cosh_loss(x, torch.zeros(4)).tolist() == pytest.approx(expected, abs=1e-5)
