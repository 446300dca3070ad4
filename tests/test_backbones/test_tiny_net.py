"""TinyNet: its size, odd images, frozen statistics."""

import torch

from registry_losses.backbones import TinyNet


def test_tiny_net_is_as_small_as_meant_and_pads_odd_sizes_with_zeros():
    model = TinyNet().eval()
    assert sum(p.numel() for p in model.parameters()) == 853_440
    assert (model.out_channels, model.out_strides) == ((32, 64, 128), (4, 8, 16))
    x = torch.randn(1, 3, 31, 45)
    padded = torch.zeros(1, 3, 32, 46)
    padded[..., :31, :45] = x
    for got, expected in zip(model(x), model(padded), strict=True):
        torch.testing.assert_close(got, expected)


def test_frozen_statistics_do_not_move():
    model = TinyNet(widths=(8, 8), depths=(1, 1), frozen_stages=1).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model(torch.randn(2, 3, 32, 32) + 5)
    moved = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert moved and all(k.startswith('stage2') for k in moved)
