"""ChannelsLastHook: another layout, the same values."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from registry_losses.engine import ChannelsLastHook
from registry_losses.engine.layout import (
    asks_for_channels_last,
    channels_first,
    is_laid_out,
    lay_out,
)
from registry_losses.errors import ConfigError
from registry_losses.registry import HOOKS, MODEL_WRAPPERS


def test_a_model_wrapped_before_is_refused():
    """DistributedDataParallel's first gradients would be wrong."""

    @MODEL_WRAPPERS.register_module(name='WrapperOfThisTest', force=True)
    class Wrapper(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

    hook = HOOKS.build(dict(type='ChannelsLastHook'))
    model = nn.Conv2d(3, 8, 3)
    with pytest.raises(ConfigError, match='before it is wrapped'):
        hook.before_run(SimpleNamespace(model=Wrapper(model)))
    lay_out(model)
    hook.before_run(SimpleNamespace(model=Wrapper(model)))


def test_initial_weights_are_those_of_the_usual_layout():
    """Random draws fill memory in its order, which is another one here."""
    drawn = []
    for change in (lambda model: None, lay_out):
        torch.manual_seed(0)
        model = nn.Conv2d(3, 8, 3)
        change(model)
        with channels_first(model):
            nn.init.kaiming_normal_(model.weight)
        drawn.append(model.weight)
    assert torch.equal(*drawn)
    assert not drawn[1].is_contiguous() and is_laid_out(model)


@pytest.mark.parametrize(
    'hooks, asked',
    [
        (dict(default_hooks=dict(channels_last=dict(type='ChannelsLastHook'))), True),
        (dict(custom_hooks=[dict(type='registry_losses.ChannelsLastHook')]), True),
        (dict(custom_hooks=[dict(type=ChannelsLastHook)]), True),
        (dict(default_hooks=dict(channels_last=None, timer=dict(type='IterTimerHook'))), False),
        (dict(), False),
    ],
)
def test_configs_that_ask_for_it(hooks, asked):
    assert asks_for_channels_last(hooks) == asked


def test_maps_follow_the_weights_and_values_stay():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1))
    images = torch.randn(2, 3, 9, 9)
    before, state = model(images), {k: v.clone() for k, v in model.state_dict().items()}
    HOOKS.build(dict(type='ChannelsLastHook')).before_run(SimpleNamespace(model=model))
    model[1].load_state_dict({k[2:]: v for k, v in state.items() if k.startswith('1.')})
    after = model(images)
    assert after.is_contiguous(memory_format=torch.channels_last)
    assert not after.is_contiguous()
    torch.testing.assert_close(after, before)
    assert torch.equal(model[0].weight, state['0.weight'])
