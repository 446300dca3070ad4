"""The Triton kernel against the pass on the CPU.

With a GPU the kernel runs there; without one Triton's interpreter runs it, where Triton is
installed (``pip install triton``).

Shapes: R rows (class vectors), C classes.
"""

import dataclasses
import importlib.metadata
import importlib.util

import pytest
import torch
from mmengine.utils import digit_version

import registry_losses.losses as losses
from registry_losses.losses import sigmoid
from registry_losses.losses.fused.cpu_chunks import chunked_pass
from registry_losses.structures import ClassTargets

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec('triton') is None
    or digit_version(importlib.metadata.version('triton')) < (3,),
    reason='Triton is not installed, or too old to interpret kernels on a CPU',
)
LOSSES = {
    'focal': lambda c: losses.FocalLoss(),
    'focal_1.5': lambda c: losses.FocalLoss(gamma=1.5),
    'focal_3': lambda c: losses.FocalLoss(gamma=3.0),
    'bce': lambda c: losses.CrossEntropyLoss(use_sigmoid=True),
    'poly': lambda c: losses.PolyLoss(),
    'quality': lambda c: losses.QualityFocalLoss(),
    'weighted': lambda c: losses.FocalLoss(class_weight=torch.linspace(0.5, 2, c).tolist()),
}


@pytest.fixture
def job_of(monkeypatch):
    """What a loss hands to the fused pass."""

    def job_of(loss, x, target, weight, scale):
        jobs = []
        monkeypatch.setattr(sigmoid, 'fused_sum', lambda x, job: jobs.append(job) or x.sum())
        loss(x, target, weight, reduction_override='sum')
        return dataclasses.replace(jobs[0], scale=scale)

    return job_of


@pytest.fixture
def device():
    """Where the kernel runs; on a CPU as tests/conftest.py has told Triton."""
    return 'cuda' if torch.cuda.is_available() else 'cpu'


def problem(rows, classes, dtype):
    """Logits of any size, every fifth row with an object or two, of values up to 1."""
    generator = torch.Generator().manual_seed(rows)
    x = torch.randn(rows, classes, generator=generator) * 4 - 2
    x.view(-1)[:3] = torch.tensor([1e4, -1e4, 0.0])
    row = torch.arange(0, rows, 5).repeat_interleave(2)
    label = (row * 7 + torch.arange(len(row)) % 2) % classes
    value = torch.rand(len(row), generator=generator)
    value[::3] = 1
    ignored = torch.zeros(rows, dtype=torch.bool)
    ignored[1::50] = True
    positive = torch.ones(len(row), dtype=torch.bool)
    return x.to(dtype), ClassTargets.merge(row, label, value, positive, ignored, classes)


def moved(target, device):
    fields = (target.rows, target.classes, target.values, target.positive, target.ignored)
    return ClassTargets(*(field.to(device) for field in fields), target.num_classes)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize('rows, classes', [(1000, 3), (100, 80), (6, 1203)])
@pytest.mark.parametrize('name', LOSSES)
def test_equals_the_pass_on_the_cpu(name, rows, classes, dtype, device, job_of):
    from registry_losses.losses.fused.triton import triton_pass

    x, target = problem(rows, classes, dtype)
    loss = LOSSES[name](classes)
    for weight in (None, torch.rand(rows), torch.rand(rows, classes)):
        want = chunked_pass(x, job_of(loss, x, target, weight, torch.tensor(0.3)), True)
        weight = None if weight is None else weight.to(device)
        there = (loss.to(device), x.to(device), moved(target, device), weight)
        job = job_of(*there, torch.tensor(0.3, device=device))
        got = triton_pass(x.to(device), job, True)
        loss.to('cpu')
        torch.testing.assert_close(got[0].cpu(), want[0], rtol=1e-5, atol=0)
        assert got[1].dtype == dtype
        digits = 1e-5 if dtype == torch.float32 else 2**-7
        largest = float(want[1].float().abs().max())
        torch.testing.assert_close(
            got[1].cpu().float(), want[1].float(), rtol=digits, atol=1e-6 * largest
        )


def test_without_a_gradient_there_is_none(device, job_of):
    from registry_losses.losses.fused.triton import triton_pass

    x = problem(100, 80, torch.float32)[0].to(device)
    target = ClassTargets.from_labels(torch.full((100,), 80, device=device), 80)
    job = job_of(losses.FocalLoss().to(device), x, target, None, 1.0)
    value, grad = triton_pass(x, job, False)
    assert grad is None and torch.isfinite(value)


@pytest.mark.parametrize('factor', [1.0, 0.25])
def test_scale_in_place(factor, device):
    from registry_losses.losses.fused.triton import scale_in_place

    grad = torch.randn(5000, device=device)
    before = grad.clone()
    assert scale_in_place(grad, torch.tensor(factor, device=device)) is grad
    torch.testing.assert_close(grad, before * factor)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('name', LOSSES)
def test_training_step_on_a_gpu_equals_the_cpu(name, dtype):
    results = []
    for device in ('cpu', 'cuda'):
        x, target = problem(1000, 80, dtype)
        x = x.to(device).requires_grad_()
        value = LOSSES[name](80).to(device)(x, moved(target, device), avg_factor=9.0)
        (value * 3).backward()
        results.append((value.detach().cpu(), x.grad.cpu().float()))
    (here, grad_here), (there, grad_there) = results
    torch.testing.assert_close(there, here, rtol=1e-5, atol=0)
    digits = 1e-5 if dtype == torch.float32 else 2**-7
    torch.testing.assert_close(
        grad_there, grad_here, rtol=digits, atol=1e-6 * float(grad_here.abs().max())
    )
