"""Necks: outputs against naive computations, odd sizes, errors."""

import doctest
import importlib
import pkgutil

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import registry_losses.necks
from registry_losses.errors import ConfigError, MissingDependencyError, ShapeError
from registry_losses.necks import (
    FPN,
    YOLOXPAFPN,
    CSPNeXtPAFPN,
    CTResNetNeck,
    L2Norm,
    SSDNeck,
    YOLOV3Neck,
    YOLOv4CSPPAN,
    YOLOv5PAFPN,
)
from registry_losses.necks.ct_resnet_neck import bilinear_kernel
from registry_losses.necks.ssd_neck import l2_norm


def pyramid(widths, size=(40, 56), batch=2):
    """Random maps, sizes halved and rounded up from level to level."""
    torch.manual_seed(0)
    maps = []
    for width in widths:
        maps.append(torch.randn(batch, width, *size))
        size = tuple(-(-s // 2) for s in size)
    return maps


# --- FPN --------------------------------------------------------------------------------------


def naive_fpn(fpn: FPN, maps, start):
    """Lateral, sum and output convolution of each level, written level by level."""
    weights = [(c.conv.weight, c.conv.bias) for c in fpn.lateral_convs]
    lateral = [F.conv2d(x, w, b) for x, (w, b) in zip(maps[start:], weights, strict=True)]
    merged = [lateral[-1]]
    for x in lateral[-2::-1]:
        above = merged[0]
        rows = torch.arange(x.shape[2]) * above.shape[2] // x.shape[2]
        cols = torch.arange(x.shape[3]) * above.shape[3] // x.shape[3]
        merged.insert(0, x + above[:, :, rows][:, :, :, cols])
    outs = [
        F.conv2d(x, c.conv.weight, c.conv.bias, padding=1)
        for x, c in zip(merged, fpn.fpn_convs, strict=False)
    ]
    return merged, outs


@pytest.mark.parametrize('size', [(40, 56), (37, 51)])
@pytest.mark.parametrize('mode', [False, True, 'on_input', 'on_lateral', 'on_output'])
@pytest.mark.parametrize('relu', [False, True])
def test_fpn_equals_the_naive_computation(mode, relu, size):
    maps = pyramid([4, 6, 8, 10], size)
    fpn = FPN(
        [4, 6, 8, 10],
        5,
        num_outs=5,
        start_level=1,
        add_extra_convs=mode,
        relu_before_extra_convs=relu,
    )
    merged, expected = naive_fpn(fpn, maps, start=1)
    source = {'on_input': maps[-1], True: maps[-1], 'on_lateral': merged[-1]}
    extra = source.get(mode, expected[-1])
    for i in (3, 4):
        if mode is False:
            extra = extra[:, :, ::2, ::2]
        else:
            conv = fpn.fpn_convs[i].conv
            if relu and i == 4:
                extra = extra.clamp(min=0)
            extra = F.conv2d(extra, conv.weight, conv.bias, stride=2, padding=1)
        expected.append(extra)
    got = fpn(maps)
    assert len(got) == 5
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b)


def test_fpn_does_not_change_its_inputs():
    maps = pyramid([4, 6])
    copies = [m.clone() for m in maps]
    FPN([4, 6], 5, num_outs=3, act_cfg={'type': 'ReLU'})(maps)
    assert all(torch.equal(a, b) for a, b in zip(maps, copies, strict=True))


def test_fpn_end_level_norm_and_scale_factor():
    norm = {'type': 'BN'}
    fpn = FPN([4, 6, 8], 5, num_outs=2, end_level=1, norm_cfg=norm, no_norm_on_lateral=True)
    assert not fpn.lateral_convs[0].with_norm and fpn.fpn_convs[0].with_norm
    outs = fpn(pyramid([4, 6, 8], (16, 16)))
    assert [tuple(o.shape) for o in outs] == [(2, 5, 16, 16), (2, 5, 8, 8)]
    doubled = FPN([4, 6], 5, num_outs=2, upsample_cfg={'mode': 'bilinear', 'scale_factor': 2})
    assert doubled(pyramid([4, 6], (16, 16)))[0].shape == (2, 5, 16, 16)


def test_fpn_of_fewer_outputs_has_the_finest_of_the_whole():
    whole = FPN([4, 6, 8], 5, num_outs=3)
    fewer = FPN([4, 6, 8], 5, num_outs=1)
    left_out = fewer.load_state_dict(whole.state_dict(), strict=False)
    assert not left_out.missing_keys
    assert {k.rsplit('.', 2)[0] for k in left_out.unexpected_keys} == {'fpn_convs.1', 'fpn_convs.2'}
    maps = pyramid([4, 6, 8], (16, 16))
    (finest,) = fewer(maps)
    assert torch.equal(finest, whole(maps)[0])
    finest.sum().backward()
    assert all(p.grad is not None for p in fewer.parameters())


def test_fpn_default_init_is_xavier_uniform():
    fpn = FPN([64, 64], 64, num_outs=2)
    fpn.init_weights()
    bound = (6 / (2 * 64 * 9)) ** 0.5
    weight = fpn.fpn_convs[0].conv.weight
    assert 0.98 * bound < weight.abs().max().item() <= bound
    assert not fpn.fpn_convs[0].conv.bias.any()


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'num_outs': 0}, 'num_outs: expected at least 1 with start_level=0.*got 0'),
        ({'num_outs': 3, 'end_level': 1}, 'num_outs: expected 1 to 2 with'),
        ({'num_outs': 3, 'start_level': 3}, 'start_level, end_level'),
        ({'num_outs': 3, 'end_level': 3}, 'start_level, end_level'),
        ({'num_outs': 5, 'add_extra_convs': 'on_top'}, "add_extra_convs: .*got 'on_top'"),
    ],
)
def test_fpn_refuses_impossible_levels(kwargs, message):
    with pytest.raises(ConfigError, match=message):
        FPN([4, 6, 8], 5, **kwargs)


NECKS = {
    'FPN': FPN([8, 16, 32], 8, num_outs=4),
    'SSDNeck': SSDNeck((8, 16), (8, 16, 8), level_strides=(2,), level_paddings=(1,)),
    'YOLOV3Neck': YOLOV3Neck(3, [32, 16, 8], [16, 8, 4]),
    'YOLOv4CSPPAN': YOLOv4CSPPAN([16, 32, 64], num_csp_blocks=1),
    'YOLOv5PAFPN': YOLOv5PAFPN([16, 32, 64], num_csp_blocks=1),
    'YOLOXPAFPN': YOLOXPAFPN([16, 32, 64], 16, num_csp_blocks=1),
    'CSPNeXtPAFPN': CSPNeXtPAFPN([16, 32, 64], 16, num_csp_blocks=1),
    'CTResNetNeck': CTResNetNeck(16, (8, 8), (4, 4)),
}
WIDTHS = {
    'FPN': [8, 16, 32],
    'SSDNeck': [8, 16],
    'YOLOV3Neck': [8, 16, 32],
    'YOLOv4CSPPAN': [16, 32, 64],
    'YOLOv5PAFPN': [16, 32, 64],
    'YOLOXPAFPN': [16, 32, 64],
    'CSPNeXtPAFPN': [16, 32, 64],
    'CTResNetNeck': [8, 16],
}


@pytest.mark.parametrize('name', NECKS)
def test_every_parameter_learns(name):
    neck = NECKS[name].train()
    neck.zero_grad()
    outs = neck(pyramid(WIDTHS[name], (24, 40)))
    sum((out * torch.randn_like(out)).sum() for out in outs).backward()
    assert [n for n, p in neck.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize('name', NECKS)
def test_a_wrong_width_names_in_channels(name):
    widths = [w + 1 for w in WIDTHS[name]]
    with pytest.raises(ShapeError, match='in_channels'):
        NECKS[name](pyramid(widths))


@pytest.mark.parametrize('name', ['YOLOv4CSPPAN', 'YOLOv5PAFPN'])
@pytest.mark.parametrize('size', [(40, 56), (37, 51)])
def test_pan_keeps_sizes_and_widths(name, size):
    maps = pyramid(WIDTHS[name], size)
    assert [o.shape for o in NECKS[name](maps)] == [m.shape for m in maps]


@pytest.mark.parametrize('size', [(40, 56), (37, 51)])
def test_yolov3_neck_goes_from_deep_to_shallow(size):
    maps = pyramid([8, 16, 32], size)
    outs = NECKS['YOLOV3Neck'](maps)
    expected = [(w, *m.shape[2:]) for w, m in zip([16, 8, 4], maps[::-1], strict=True)]
    assert [tuple(o.shape[1:]) for o in outs] == expected


def test_yolov3_neck_deepest_output_ignores_the_finer_maps():
    neck = NECKS['YOLOV3Neck'].eval()
    maps = pyramid([8, 16, 32])
    changed = [maps[0] + 1, maps[1], maps[2]]
    before, after = neck(maps), neck(changed)
    assert torch.equal(before[0], after[0]) and torch.equal(before[1], after[1])
    assert not torch.allclose(before[2], after[2])


# --- SSD --------------------------------------------------------------------------------------


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


# --- CenterNet --------------------------------------------------------------------------------


@pytest.mark.parametrize('kernel', [2, 3, 4])
def test_deconvolutions_double_the_size(kernel):
    neck = CTResNetNeck(6, (4, 4), (kernel, kernel))
    (out,) = neck([torch.randn(1, 6, 5, 7)])
    assert out.shape == (1, 4, 20, 28)
    assert neck.out_channels == 4


@pytest.mark.parametrize('size', [2, 3, 4])
def test_bilinear_kernel_keeps_a_constant(size):
    x = torch.ones(1, 1, 5, 5)
    kernel = bilinear_kernel(size)[None, None]
    padding, output_padding = {2: (0, 0), 3: (1, 1), 4: (1, 0)}[size]
    out = F.conv_transpose2d(x, kernel, None, 2, padding, output_padding)
    torch.testing.assert_close(out[..., 1:-1, 1:-1], torch.ones(1, 1, 8, 8))


def test_deconvolutions_start_bilinear():
    neck = CTResNetNeck(6, (4,), (4,))
    neck.init_weights()
    weight = neck.deconv_layers[1].conv.weight
    assert isinstance(neck.deconv_layers[1].conv, nn.ConvTranspose2d)
    # [1, 3, 3, 1] / 4 in each direction.
    line = torch.tensor([0.25, 0.75, 0.75, 0.25])
    for channel in range(4):
        torch.testing.assert_close(weight[channel, channel], line[:, None] * line)


def test_deformable_convolution_needs_the_full_mmcv():
    try:
        import mmcv.ops  # noqa: F401
    except ImportError:
        with pytest.raises(MissingDependencyError, match='use_dcn=False'):
            CTResNetNeck(6, (4,), (4,), use_dcn=True)
    else:
        assert CTResNetNeck(6, (4,), (4,), use_dcn=True)


# --- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda: CTResNetNeck(6, (4, 4), (4,)), 'num_deconv_filters, num_deconv_kernels'),
        (lambda: CTResNetNeck(6, (4,), (5,)), 'num_deconv_kernels: expected 2, 3 or 4'),
        (lambda: YOLOV3Neck(3, [32, 16], [16, 8, 4]), 'num_scales = 3'),
        (lambda: YOLOv5PAFPN([16]), 'at least two levels'),
        (lambda: YOLOv4CSPPAN([16]), 'at least two levels'),
        (lambda: YOLOv5PAFPN([16, 32], [16, 16]), 'out_channels: this neck keeps the widths'),
        (lambda: SSDNeck((8, 16), (8, 8, 8)), 'out_channels: expected to start with'),
        (lambda: SSDNeck((8, 16), (8, 16, 8)), r'level_strides, level_paddings: .* the 1 extra'),
    ],
)
def test_wrong_options_say_what_was_expected(build, message):
    with pytest.raises(ConfigError, match=message):
        build()


def test_docstring_examples_run():
    for info in pkgutil.iter_modules(registry_losses.necks.__path__):
        module = importlib.import_module(f'registry_losses.necks.{info.name}')
        with torch.device('meta'):
            assert doctest.testmod(module).failed == 0
