"""SSD's neck: the paper's sizes, the norm by hand."""

import pytest
import torch

from registry_losses.necks import L2Norm, SSDNeck
from registry_losses.necks.ssd_neck import l2_norm


def pyramid(widths, size=(40, 56), batch=2):
    """Random maps, sizes halved and rounded up from level to level."""
    torch.manual_seed(0)
    maps = []
    for width in widths:
        maps.append(torch.randn(batch, width, *size))
        size = tuple(-(-s // 2) for s in size)
    return maps


@pytest.mark.parametrize(
    ('size', 'kwargs', 'sides'),
    [
        (300, {}, [38, 19, 10, 5, 3, 1]),
        (
            512,
            {
                'out_channels': (512, 1024, 512, 256, 256, 256, 256),
                'level_strides': (2, 2, 2, 2, 1),
                'level_paddings': (1, 1, 1, 1, 1),
                'last_kernel_size': 4,
            },
            [64, 32, 16, 8, 4, 2, 1],
        ),
    ],
)
def test_ssd_maps_have_the_papers_sizes(size, kwargs, sides):
    first = -(-size // 8)
    with torch.device('meta'):
        neck = SSDNeck(**kwargs)
        maps = [
            torch.empty(1, 512, first, first),
            torch.empty(1, 1024, -(-first // 2), -(-first // 2)),
        ]
        outs = neck(maps)
    assert [tuple(o.shape[1:]) for o in outs] == [
        (c, s, s) for c, s in zip(neck.out_channels, sides, strict=True)
    ]


def test_l2_norm_by_hand():
    x = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)
    got = l2_norm(x, torch.tensor([20.0, 10.0]))
    torch.testing.assert_close(got.flatten(), torch.tensor([12.0, 8.0]))
    layer = L2Norm(2)
    torch.testing.assert_close(layer(x).flatten(), torch.tensor([12.0, 16.0]))
    assert (layer.weight == 20).all() and layer.weight.requires_grad


def test_l2_norm_of_a_cell_of_zeros_is_zero_with_finite_gradients():
    x = torch.zeros(1, 4, 2, 2, requires_grad=True)
    layer = L2Norm(4)
    out = layer(torch.relu(x))
    out.sum().backward()
    assert not out.any()
    assert x.grad.isfinite().all() and layer.weight.grad.isfinite().all()


def test_l2_norm_does_not_overflow_in_half_precision():
    # 512 channels of 100: the sum of squares, 5.12e6, is beyond float16.
    x = torch.full((1, 512, 1, 1), 100.0, dtype=torch.float16)
    out = L2Norm(512)(x)
    assert out.dtype == torch.float16
    torch.testing.assert_close(out.float(), torch.full_like(out, 20 / 512**0.5).float())


def test_ssd_neck_without_norm_returns_the_first_map_itself():
    neck = SSDNeck((8, 16), (8, 16), level_strides=(), level_paddings=(), l2_norm_scale=None)
    maps = pyramid([8, 16])
    assert [id(o) for o in neck(maps)] == [id(m) for m in maps]
    assert not list(neck.parameters())


def test_ssd_neck_init_keeps_the_scale():
    neck = SSDNeck((8, 16), (8, 16, 8), level_strides=(2,), level_paddings=(1,))
    neck.init_weights()
    assert (neck.l2_norm.weight == 20).all()
