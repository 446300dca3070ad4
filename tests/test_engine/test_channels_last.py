"""ChannelsLastHook: another layout, the same values."""

from types import SimpleNamespace

import torch
from torch import nn

from registry_losses.registry import HOOKS


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
