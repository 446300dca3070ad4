"""HRNet: the branches it returns."""

import torch

from registry_losses.backbones import HRNet, hrnet_extra


def test_hrnet_returns_all_branches_when_asked():
    extra = hrnet_extra(8)
    extra['stage4']['multiscale_output'] = True
    model = HRNet(extra)
    assert (model.out_channels, model.out_strides) == ((8, 16, 32, 64), (4, 8, 16, 32))
    outs = model(torch.randn(1, 3, 64, 96))
    assert [tuple(o.shape) for o in outs] == [
        (1, 8, 16, 24),
        (1, 16, 8, 12),
        (1, 32, 4, 6),
        (1, 64, 2, 3),
    ]
