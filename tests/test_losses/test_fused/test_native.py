"""The compiled pass against the plain formula in float64.

Shapes: R rows (class vectors), C classes.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.utils import digit_version

import registry_losses.losses as losses
from registry_losses.losses.fused import native as fused_native
from registry_losses.losses.fused.negatives import PowerNegative
from registry_losses.ops import native
from registry_losses.structures import ClassTargets
from registry_losses.testing.memory import peak_bytes

from ..cases import CASES, names

LOSSES = {name: CASES[name].build for name in names('sigmoid', fused=True)}
LOSSES |= {
    'focal_0': lambda **k: losses.FocalLoss(gamma=0.0, **k),
    'focal_3': lambda **k: losses.FocalLoss(gamma=3.0, **k),
}
needs_compiler = pytest.mark.skipif(
    shutil.which('cc') is None and shutil.which('gcc') is None and shutil.which('clang') is None,
    reason='there is no C compiler',
)


def problem(rows, classes, dtype=torch.float32):
    """Logits of both signs and of any size, a fifth of the rows with an object."""
    generator = torch.Generator().manual_seed(rows + classes)
    x = torch.randn(rows, classes, generator=generator) * 4 - 2
    x.view(-1)[:4] = torch.tensor([1e4, -1e4, 0.0, 88.0])
    labels = torch.full((rows,), classes)
    objects = torch.randperm(rows, generator=generator)[: rows // 5]
    labels[objects] = torch.randint(0, classes, objects.shape, generator=generator)
    scores = torch.where(labels < classes, torch.rand(rows, generator=generator), 0)
    return x.to(dtype), ClassTargets.from_labels(labels, classes, scores=scores)


def value_and_gradient(loss, x, target, **options):
    x = x.detach().requires_grad_()
    value = loss(x, target, avg_factor=7.0, **options)
    return value.detach().double(), torch.autograd.grad(value, x)[0].double()


def close(got, want, gradient=1e-5):
    torch.testing.assert_close(got[0], want[0], rtol=1e-6, atol=0)
    largest = float(want[1].abs().max())
    torch.testing.assert_close(got[1], want[1], rtol=gradient, atol=largest * min(gradient, 1e-4))


@pytest.fixture
def used(monkeypatch):
    """Fails a test in which the compiled pass was not what ran."""
    ran = []
    original = fused_native._kernel

    def watch(*key):
        kernel = original(*key)
        ran.append(kernel is not None)
        return kernel

    monkeypatch.setattr(fused_native, '_kernel', watch)
    yield
    assert ran and all(ran)


@needs_compiler
@pytest.mark.parametrize('rows, classes', [(3000, 1), (1000, 3), (700, 80), (40, 2500)])
@pytest.mark.parametrize('name', LOSSES)
def test_equals_the_formula_in_float64(name, rows, classes, used):
    x, target = problem(rows, classes)
    got = value_and_gradient(LOSSES[name](compile=True), x, target)
    close(got, value_and_gradient(LOSSES[name](), x.double(), target))


@needs_compiler
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('name', ['focal', 'focal_0.5', 'bce'])
def test_half_precision_computes_in_float32(name, dtype, used):
    x, target = problem(500, 80, dtype)
    got = value_and_gradient(LOSSES[name](compile=True), x, target)
    close(got, value_and_gradient(LOSSES[name](), x.double(), target), 2**-8)


@needs_compiler
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_gradients_round_as_torch_does(dtype, used):
    """Tiny ones too, which are denormal numbers of float16; and what is not finite."""
    scales = 2.0 ** torch.arange(-30, 40)
    x = (torch.linspace(-6, 6, 70)[:, None] * torch.ones(8)).to(dtype)
    x[0, :2] = torch.tensor([float('inf'), float('nan')])
    target = ClassTargets.from_labels(torch.full((70,), 8), 8)
    gradients = []
    for kind in (dtype, torch.float32):
        leaf = x.detach().to(kind).requires_grad_()
        loss = losses.CrossEntropyLoss(use_sigmoid=True, compile=True)
        value = loss(leaf, target, weight=scales, reduction_override='sum')
        gradients.append(torch.autograd.grad(value, leaf)[0].to(dtype))
    torch.testing.assert_close(*gradients, rtol=0, atol=0, equal_nan=True)
    assert gradients[0].isnan().any() and not gradients[0].isnan().all()


@needs_compiler
@pytest.mark.parametrize('weights', ['row', 'class', 'row and class', 'single logits'])
def test_weights(weights, used):
    x, target = problem(700, 80)
    options, build = {}, {}
    if 'row' in weights:
        options['weight'] = torch.rand(700) * 2
    if weights == 'single logits':
        options['weight'] = torch.rand(700, 80) * 2
    if 'class' in weights:
        build['class_weight'] = torch.linspace(0, 2, 80).tolist()
    got = value_and_gradient(LOSSES['focal'](compile=True, **build), x, target, **options)
    close(got, value_and_gradient(LOSSES['focal'](**build), x.double(), target, **options))


@needs_compiler
def test_an_entry_takes_no_digits_of_the_rest(used):
    """A confident positive as negative would weigh 1e4 times the rest of its block."""
    x = torch.full((20, 8), -9.0)
    x[3, 2] = 3e4
    labels = torch.full((20,), 8)
    labels[3] = 2
    loss = losses.CrossEntropyLoss(use_sigmoid=True, compile=True)
    got = loss(x, ClassTargets.from_labels(labels, 8), reduction_override='sum')
    want = 159 * torch.tensor(-9.0).double().exp().log1p()
    torch.testing.assert_close(got.double(), want, rtol=1e-6, atol=0)


@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
def test_the_formula_bears_minus_infinity(gamma):
    """Where a mask writes it; 0 times an infinite logarithm is no number."""
    x = torch.tensor([-float('inf'), 1.0])
    value = PowerNegative(gamma, poly=1.0)(x)
    assert value[0] == 0 and value[1] > 0


@needs_compiler
def test_threads_change_nothing(used):
    x, target = problem(700, 80)
    before = torch.get_num_threads()
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(value_and_gradient(LOSSES['focal'](compile=True), x, target))
    torch.set_num_threads(before)
    for value, grad in results[1:]:
        assert torch.equal(value, results[0][0]) and torch.equal(grad, results[0][1])


@needs_compiler
def test_takes_one_gradient_of_memory(used):
    x, target = problem(25_000, 80)
    x.requires_grad_()
    # Elements are values as large as the gradient.
    for compiled, reduction, least, limit in (
        (True, 'mean', 1, 1.1),
        (False, 'mean', 1, 1.3),
        (False, 'none', 2, 2.3),
    ):
        loss = LOSSES['focal'](compile=compiled, reduction=reduction)
        loss(x, target, avg_factor=1.0)
        most = peak_bytes(
            lambda loss=loss: torch.autograd.grad(loss(x, target, avg_factor=1.0).sum(), x)
        )
        assert least * x.numel() * 4 <= most <= limit * x.numel() * 4


@pytest.mark.skipif(
    digit_version(torch.__version__) < (2, 4), reason='PyTorch 2.1 has another vmap for these'
)
@pytest.mark.parametrize('reduction', ['sum', 'none'])
@pytest.mark.parametrize('compiled', [False, pytest.param(True, marks=needs_compiler)])
def test_a_batch_of_backward_passes(compiled, reduction):
    x, target = problem(20, 8)
    x.requires_grad_()
    value = LOSSES['focal'](compile=compiled)(x, target, reduction_override=reduction)
    into = torch.linspace(-2, 2, 3 * value.numel()).reshape(3, *value.shape)
    options = {'retain_graph': True}
    (got,) = torch.autograd.grad(value, x, into, is_grads_batched=True, **options)
    want = [torch.autograd.grad(value, x, factor, **options)[0] for factor in into]
    torch.testing.assert_close(got, torch.stack(want), rtol=1e-5, atol=1e-6)
    mapped = torch.func.vmap(lambda factor: torch.autograd.grad(value, x, factor, **options)[0])
    assert torch.equal(mapped(into), got)


def test_without_a_compiler_it_warns_once_and_runs(monkeypatch):
    monkeypatch.setattr(native.shutil, 'which', lambda name: None)
    monkeypatch.delenv('CC', raising=False)
    monkeypatch.setattr(
        fused_native, '_kernel', fused_native.functools.cache(fused_native._kernel.__wrapped__)
    )
    x, target = problem(50, 8)
    loss = LOSSES['focal'](compile=True)
    with pytest.warns(UserWarning, match='no C compiler was found: install gcc or clang'):
        got = value_and_gradient(loss, x, target)
    close(got, value_and_gradient(LOSSES['focal'](), x, target))
    with pytest.warns(UserWarning) as caught:
        value_and_gradient(loss, x, target)
        import warnings

        warnings.warn('the only one', stacklevel=1)
    assert [str(w.message) for w in caught] == ['the only one']


@needs_compiler
def test_one_pool_of_threads_with_torch(tmp_path):
    """A second OpenMP runtime would keep the cores busy while it waits."""
    if not sys.platform.startswith('linux'):
        pytest.skip('/proc/self/maps is Linux')
    x = torch.randn(500, 80, requires_grad=True)
    losses.FocalLoss(compile=True)(x, torch.full((500,), 80)).backward()
    # Beside PyTorch alone: other packages of this process bring runtimes of their own.
    maps = Path('/proc/self/maps').read_text().split()
    made = sorted({path for path in maps if Path(path).name.startswith('native_')})
    script = (
        f'import ctypes, torch\nlibraries = [ctypes.CDLL(path) for path in {made}]\n'
        "maps = open('/proc/self/maps').read().split()\n"
        "names = ('libgomp', 'libomp', 'libiomp')\n"
        "print(len({m for m in maps if m.split('/')[-1].startswith(names)}))\n"
    )
    assert made
    out = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=True)
    assert out.stdout.strip() in ('0', '1'), out.stdout
