"""Every loss against its plain formula, in values and gradients: all but those of classes.

Losses of classes, whose targets have several forms, are in ``test_common_targets.py``.
"""

import inspect
from pathlib import Path

import pytest
import torch

from registry_losses.testing.reference.page import page

from .cases import CASES, example

NAMES = [
    name
    for name, case in CASES.items()
    if case.plain is not None and case.family not in ('sigmoid', 'probability', 'softmax')
]
LABELS = torch.arange(12)  # twelve rows


@pytest.mark.parametrize('name', NAMES)
def test_equals_the_plain_formula(name):
    case = CASES[name]
    pred, targets = example(name, LABELS, 12)
    # What keeps denominators from 0 is not part of a formula.
    options = dict(eps=1e-9) if 'eps' in inspect.signature(case.cls).parameters else {}
    loss = case.build(**options, reduction='none')
    results = []
    for function in (loss, case.plain):
        x = pred.double().requires_grad_()
        out = function(x, targets['dense'].double())
        finite = out.isfinite()  # the logarithm of an IoU of 0 is not
        results.append((out, torch.autograd.grad(out[finite].sum(), x)[0], finite))
    (got, grad, _), (want, want_grad, finite) = results
    assert finite.float().mean() > 0.5
    torch.testing.assert_close(got[finite], want[finite], rtol=1e-6, atol=1e-7)
    rows = finite.flatten(1).all(1) if finite.dim() > 1 else finite
    torch.testing.assert_close(grad[rows], want_grad[rows], rtol=1e-5, atol=1e-7)


def test_the_page_is_the_code():
    docs = Path(__file__).parents[2] / 'docs' / 'plain_losses.md'
    assert docs.read_text('utf-8') == page('losses'), 'run make docs'
