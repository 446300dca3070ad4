"""FPN against the naive computation, level by level."""

import pytest
import torch
import torch.nn.functional as F
from neck_table import pyramid

from registry_losses.errors import ConfigError
from registry_losses.necks import FPN


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
