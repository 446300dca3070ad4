"""Shared parameters are in one group of the optimizer, once; a slow mixed precision warns."""

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.optim import build_optim_wrapper
from torch import nn

from registry_losses.engine import optim
from registry_losses.engine.optim import CPUAmpOptimWrapper, shared_once


def test_a_shared_parameter_is_updated_once():
    first, second = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)
    second.weight = first.weight
    model = nn.ModuleList([first, second])
    node = ConfigDict(
        optimizer=dict(type='SGD', lr=0.1, weight_decay=0.5),
        paramwise_cfg=dict(bias_decay_mult=0.0),
    )
    wrapper = build_optim_wrapper(model, shared_once(node))
    own = {id(parameter) for parameter in model.parameters()}
    decays = [(id(p), g['weight_decay']) for g in wrapper.param_groups for p in g['params']]
    # MMEngine adds a parameter of its own.
    assert sorted(d for d in decays if d[0] in own) == sorted(
        [(id(first.weight), 0.5), (id(first.bias), 0.0), (id(second.bias), 0.0)]
    )
    assert 'bypass_duplicate' not in node.paramwise_cfg
    plain = ConfigDict(optimizer=dict(type='SGD', lr=0.1))
    assert shared_once(plain) is plain


@pytest.mark.parametrize(
    'units, dtype, warned',
    [
        (False, 'bfloat16', True),
        (True, 'bfloat16', False),
        (None, 'bfloat16', False),
        (False, 'float16', False),
    ],
)
def test_mixed_precision_warns_where_the_cpu_has_no_units_for_it(units, dtype, warned, monkeypatch):
    said = []
    monkeypatch.setattr(optim, 'has_bfloat16_units', lambda: units)
    monkeypatch.setattr(optim, 'print_log', lambda text, *_: said.append(text))
    if dtype == 'float16' and not hasattr(torch.amp, 'GradScaler'):
        pytest.skip('no float16 on a CPU before PyTorch 2.3')
    CPUAmpOptimWrapper(torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1), dtype=dtype)
    assert bool(said) is warned
    assert not said or '--amp' in said[0]
