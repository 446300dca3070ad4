"""Parameters that layers share are in one group of the optimizer, once."""

from mmengine.config import ConfigDict
from mmengine.optim import build_optim_wrapper
from torch import nn

from registry_losses.engine.optim import shared_once


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
