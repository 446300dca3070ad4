"""Backbones: outputs, modes, freezing, initialisation, errors."""

import doctest
import importlib
import math
import pkgutil
import sys
import types

import mmcv.cnn
import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

import registry_losses.backbones
from registry_losses.backbones import (
    SSDVGG,
    CSPDarknet,
    CSPNeXt,
    Darknet,
    HRNet,
    ResNet,
    TIMMBackbone,
    TinyNet,
    YOLOV1Darknet,
    YOLOv4CSPDarknet,
    YOLOv5CSPDarknet,
    hrnet_extra,
)
from registry_losses.backbones.csp_layers import make_divisible, make_round, pool_pyramid
from registry_losses.errors import ConfigError, MissingDependencyError

# name: builder of a small instance; keyword arguments are passed on.
SMALL = {
    'resnet18': lambda **k: ResNet(18, base_channels=8, **k),
    'resnet50': lambda **k: ResNet(50, base_channels=8, **k),
    'resnet50_caffe': lambda **k: ResNet(50, base_channels=8, style='caffe', **k),
    'tiny': lambda **k: TinyNet(widths=(8, 16, 24, 32), depths=(1, 2, 0, 1), **k),
    'yolov1': lambda **k: YOLOV1Darknet(widen_factor=1 / 16, out_indices=(3, 4, 5), **k),
    'yolov4': lambda **k: YOLOv4CSPDarknet(deepen_factor=0.25, widen_factor=0.25, **k),
    'yolov5': lambda **k: YOLOv5CSPDarknet(deepen_factor=0.33, widen_factor=0.25, **k),
    'yolov5_p6': lambda **k: YOLOv5CSPDarknet(
        'P6', deepen_factor=0.33, widen_factor=0.25, out_indices=(2, 3, 4, 5), **k
    ),
    'yolox': lambda **k: CSPDarknet(deepen_factor=0.33, widen_factor=0.125, **k),
    'rtmdet': lambda **k: CSPNeXt(deepen_factor=0.33, widen_factor=0.125, **k),
    'hrnet': lambda **k: HRNet(hrnet_extra(8), **k),
}
BIG = {
    'resnet34': lambda: ResNet(34, out_indices=(1, 3)),
    'resnet101': lambda: ResNet(101, frozen_stages=1),
    'resnet152': lambda: ResNet(152),
    'darknet53': lambda: Darknet(53, out_indices=(0, 1, 2, 3, 4, 5)),
    'ssd_vgg16': lambda: SSDVGG(16, out_feature_indices=(3, 8, 15, 22, 34)),
    'ssd_vgg19': lambda: SSDVGG(19, out_feature_indices=(25,)),
}


def stages_of(model: nn.Module) -> list[list[nn.Module]]:
    return [list(stage) for stage in model.stages()]


# --- outputs ----------------------------------------------------------------------------------


# YOLOv1's pools round down, as in the paper; its head wants multiples of 64.
SIZES = [(n, s) for n in (*SMALL, *BIG) for s in ((256, 320), (250, 331)) if n != 'yolov1']
SIZES.append(('yolov1', (256, 320)))


@pytest.mark.parametrize(('name', 'size'), SIZES)
def test_outputs_have_the_announced_widths_and_strides(name, size):
    with torch.device('meta'):
        model = {**SMALL, **BIG}[name]()
        outs = model(torch.empty(2, 3, *size))
    assert isinstance(outs, tuple)
    assert len(outs) == len(model.out_channels) == len(model.out_strides)
    for out, channels, stride in zip(outs, model.out_channels, model.out_strides, strict=True):
        # Rounding up at each halving equals rounding up once.
        expected = (2, channels, math.ceil(size[0] / stride), math.ceil(size[1] / stride))
        assert out.shape == expected


@pytest.mark.parametrize(
    ('depth', 'style'), [(18, 'pytorch'), (50, 'pytorch'), (50, 'caffe')], ids=str
)
def test_resnet_computes_what_mmcv_does(depth, style):
    torch.manual_seed(0)
    reference = mmcv.cnn.ResNet(depth, style=style, bn_eval=False)
    ours = ResNet(depth, style=style, norm_eval=False)
    ours.load_state_dict(reference.state_dict(), strict=True)
    x = torch.randn(2, 3, 65, 48)
    for mode in (True, False):
        reference.train(mode)
        for got, expected in zip(ours.train(mode)(x), reference(x), strict=True):
            torch.testing.assert_close(got, expected)


def test_ssd_vgg_begins_as_vgg16_and_ends_as_the_paper_says():
    model = SSDVGG(16)
    with torch.device('meta'):
        reference = mmcv.cnn.VGG(16, with_last_pool=False, ceil_mode=True).features
    assert [str(layer) for layer in model.features[:30]] == [str(layer) for layer in reference]
    pool5, fc6, _, fc7, _ = model.features[30:]
    assert (pool5.kernel_size, pool5.stride, pool5.padding) == (3, 1, 1)
    assert (fc6.kernel_size, fc6.dilation, fc6.padding) == ((3, 3), (6, 6), (6, 6))
    assert fc7.kernel_size == (1, 1)
    with torch.device('meta'):
        maps = SSDVGG(16)(torch.empty(1, 3, 300, 300))
    # Liu et al. 2016, figure 2.
    assert [tuple(m.shape[1:]) for m in maps] == [(512, 38, 38), (1024, 19, 19)]


def test_yolov1_has_the_papers_24_convolutions_and_grid():
    with torch.device('meta'):
        model = YOLOV1Darknet(norm_cfg=False)
        (out,) = model(torch.empty(1, 3, 448, 448))
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert len(convs) == 24
    assert all(conv.bias is not None for conv in convs)
    assert out.shape == (1, 1024, 7, 7)


def test_darknet53_has_52_convolutions_and_leaky_slope_a_tenth():
    with torch.device('meta'):
        model = Darknet(53)
    # The 53rd layer of the paper's table 1 is the classifier.
    assert sum(isinstance(m, nn.Conv2d) for m in model.modules()) == 52
    slopes = {m.negative_slope for m in model.modules() if isinstance(m, nn.LeakyReLU)}
    assert slopes == {0.1}


def test_yolo_v4_and_v5_use_ultralytics_batch_norm():
    for model in (SMALL['yolov4'](), SMALL['yolov5']()):
        norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
        assert {(m.eps, m.momentum) for m in norms} == {(0.001, 0.03)}
    assert any(isinstance(m, nn.Mish) for m in SMALL['yolov4']().modules())
    assert any(isinstance(m, nn.SiLU) for m in SMALL['yolov5']().modules())


def test_tiny_net_is_as_small_as_meant_and_pads_odd_sizes_with_zeros():
    model = TinyNet().eval()
    assert sum(p.numel() for p in model.parameters()) == 853_440
    assert (model.out_channels, model.out_strides) == ((32, 64, 128), (4, 8, 16))
    x = torch.randn(1, 3, 31, 45)
    padded = torch.zeros(1, 3, 32, 46)
    padded[..., :31, :45] = x
    for got, expected in zip(model(x), model(padded), strict=True):
        torch.testing.assert_close(got, expected)


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


@pytest.mark.parametrize('name', SMALL)
def test_every_parameter_learns(name):
    torch.manual_seed(0)
    model = SMALL[name]().train()
    # Large enough that no 3x3 kernel of the last stage sees only padding.
    outs = model(torch.randn(2, 3, 128, 128))
    sum((out * torch.randn_like(out)).sum() for out in outs).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_checkpointing_changes_neither_outputs_nor_gradients():
    torch.manual_seed(0)
    plain = ResNet(18, base_channels=8)
    saving = ResNet(18, base_channels=8, with_cp=True)
    saving.load_state_dict(plain.state_dict())
    x = torch.randn(1, 3, 64, 64)
    for model in (plain, saving):
        sum(out.square().sum() for out in model.train()(x)).backward()
    for a, b in zip(plain.parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


# --- modes and freezing -----------------------------------------------------------------------


@pytest.mark.parametrize('name', SMALL)
def test_train_and_eval_return_the_model(name):
    model = SMALL[name]()
    assert model.eval() is model
    assert not any(m.training for m in model.modules())
    assert model.train() is model
    assert model.training


@pytest.mark.parametrize('name', SMALL)
@pytest.mark.parametrize('frozen', [-1, 0, 1])
def test_frozen_stages_have_no_gradient_and_keep_their_statistics(name, frozen):
    model = SMALL[name](frozen_stages=frozen, norm_eval=False)
    groups = stages_of(model)
    cold = {p for stage in groups[: frozen + 1] for m in stage for p in m.parameters()}
    # True before the first train() too: optimizers are built before it.
    assert all(p.requires_grad == (p not in cold) for p in model.parameters())
    model.eval().train()
    assert all(p.requires_grad == (p not in cold) for p in model.parameters())
    for i, stage in enumerate(groups):
        norms = [n for m in stage for n in m.modules() if isinstance(n, _BatchNorm)]
        assert norms
        assert all(n.training == (i > frozen) for n in norms)


def test_frozen_statistics_do_not_move():
    model = TinyNet(widths=(8, 8), depths=(1, 1), frozen_stages=1).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model(torch.randn(2, 3, 32, 32) + 5)
    moved = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert moved and all(k.startswith('stage2') for k in moved)


@pytest.mark.parametrize('name', SMALL)
def test_norm_eval_holds_every_batch_norm(name):
    model = SMALL[name](norm_eval=True).train()
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    assert norms and not any(n.training for n in norms)
    assert all(p.requires_grad for p in model.parameters())


def test_ssd_vgg_freezes_by_pooling_stage():
    with torch.device('meta'):
        model = SSDVGG(16, frozen_stages=2)
    frozen = {n.split('.')[1] for n, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {'0', '2', '5', '7'}


def test_norm_without_gradient_and_group_norm():
    fixed = ResNet(18, base_channels=8, norm_cfg={'type': 'BN', 'requires_grad': False})
    assert not fixed.layer1[0].bn1.weight.requires_grad
    assert fixed.layer1[0].conv1.weight.requires_grad
    grouped = ResNet(18, base_channels=8, norm_cfg={'type': 'GN', 'num_groups': 4})
    assert isinstance(grouped.layer1[0].gn2, nn.GroupNorm)
    assert grouped(torch.randn(1, 3, 32, 32))[0].shape == (1, 8, 8, 8)


# --- initialisation ---------------------------------------------------------------------------


def test_default_init_is_kaiming_with_zero_residual_branches():
    model = ResNet(18)
    model.init_weights()
    for block in (*model.layer1, *model.layer4):
        assert not block.bn2.weight.any()
        assert (block.bn1.weight == 1).all()
    weight = model.layer3[0].conv2.weight
    # Fan-out of a 3x3 convolution to 256 channels.
    assert weight.std().item() == pytest.approx(math.sqrt(2 / (256 * 9)), rel=0.02)
    plain = ResNet(18, base_channels=8, zero_init_residual=False)
    plain.init_weights()
    assert (plain.layer1[0].bn2.weight == 1).all()


def test_pretrained_weights_load(tmp_path):
    source = ResNet(18, base_channels=8)
    path = tmp_path / 'weights.pth'
    torch.save({**source.state_dict(), 'fc.weight': torch.zeros(3, 3)}, path)
    init_cfg = {'type': 'Pretrained', 'checkpoint': str(path)}
    model = ResNet(18, base_channels=8, init_cfg=init_cfg)
    model.init_weights()
    for key, value in source.state_dict().items():
        torch.testing.assert_close(model.state_dict()[key], value)


# --- shared layers ----------------------------------------------------------------------------


def test_widths_and_depths_scale_as_ultralytics():
    assert [make_divisible(c, 0.25) for c in (64, 100, 1024)] == [16, 32, 256]
    assert make_divisible(64, 0.3) == 24
    assert [make_round(n, 0.33) for n in (0, 1, 3, 6, 9)] == [0, 1, 1, 2, 3]
    assert make_round(3, 1.33) == 4


@pytest.mark.parametrize('sizes', [(5, 9, 13), (3, 5, 13)])
def test_pool_pyramid_equals_separate_pools(sizes):
    x = torch.randn(2, 3, 11, 17)
    pools = [nn.MaxPool2d(k, stride=1, padding=k // 2)(x) for k in sizes]
    torch.testing.assert_close(pool_pyramid(x, sizes), torch.cat([x, *pools], 1))


# --- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda: ResNet(20), r'depth: expected one of \[18, 34, 50, 101, 152\], got 20'),
        (lambda: ResNet(18, style='tf'), "style: expected one of .*, got 'tf'"),
        (lambda: ResNet(18, out_indices=(0, 4)), r'out_indices: .* in 0 \.\. 3, got \(0, 4\)'),
        (lambda: ResNet(18, out_indices=()), 'out_indices'),
        (lambda: ResNet(18, out_indices=(2, 1)), 'increasing'),
        (lambda: ResNet(18, frozen_stages=5), r'frozen_stages: expected -1 .* got 5'),
        (lambda: ResNet(18, num_stages=3), 'strides and dilations: expected num_stages = 3'),
        (lambda: ResNet(18, num_stages=5), 'num_stages'),
        (lambda: TinyNet(widths=(8, 16), depths=(1,)), "'widths': 2, 'depths': 1"),
        (lambda: TinyNet(widths=(8,), depths=(-1,)), 'depths >= 0'),
        (lambda: Darknet(19), r'depth: expected one of \[53\], got 19'),
        (lambda: SSDVGG(12), 'depth'),
        (lambda: SSDVGG(16, out_feature_indices=(22, 35)), r'out_feature_indices: .* 0 \.\. 34'),
        (lambda: YOLOv5CSPDarknet('P7'), r"arch: expected one of \['P5', 'P6'\]"),
        (lambda: YOLOV1Darknet(widen_factor=0), 'widen_factor'),
        (lambda: HRNet({'stage1': {}}), r"extra\['stage1'\]: expected keys"),
        (lambda: HRNet(_extra(2, num_branches=3)), 'num_branches = 2'),
        (lambda: HRNet(_extra(3, block='SWISH')), "'BASIC', 'BOTTLENECK'"),
        (lambda: HRNet(_extra(2, blocks=3)), 'expected keys'),
    ],
)
def test_wrong_options_say_what_was_expected(build, message):
    with pytest.raises(ConfigError, match=message):
        build()


def _extra(stage: int, **changes) -> dict:
    extra = hrnet_extra(8)
    extra[f'stage{stage}'].update(changes)
    return extra


# --- timm -------------------------------------------------------------------------------------


class FakeFeatures(nn.Module):
    """Stands for a timm feature extractor with channels last, as Swin's."""

    def __init__(self, channels_last: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(5)
        self.channels_last = channels_last
        self.output_fmt = 'NHWC' if channels_last else 'NCHW'
        self.feature_info = types.SimpleNamespace(channels=lambda: [5], reduction=lambda: [2])

    def forward(self, x):
        out = self.norm(self.conv(x))
        return [out.permute(0, 2, 3, 1)] if self.channels_last else [out]


@pytest.fixture
def fake_timm(monkeypatch):
    calls = []

    def create_model(name, **kwargs):
        if name == 'unknown':
            raise RuntimeError('Unknown model (unknown)')
        calls.append((name, kwargs))
        return FakeFeatures(channels_last=name == 'swin')

    monkeypatch.setitem(sys.modules, 'timm', types.SimpleNamespace(create_model=create_model))
    return calls


@pytest.mark.parametrize('name', ['resnet', 'swin'])
def test_timm_wrapper_passes_options_and_gives_channels_first(fake_timm, name):
    args = {'output_stride': 16}
    model = TIMMBackbone(name, out_indices=(1,), norm_eval=True, timm_args=args)
    assert fake_timm[0][1] == {
        'features_only': True,
        'out_indices': (1,),
        'pretrained': False,
        'checkpoint_path': '',
        'in_chans': 3,
        'output_stride': 16,
    }
    assert (model.out_channels, model.out_strides) == ((5,), (2,))
    # Height 5 = channels: the layout cannot be told from the shape.
    (out,) = model.train()(torch.randn(2, 3, 9, 12))
    assert out.shape == (2, 5, 5, 6)
    assert not model.timm_model.norm.training


def test_timm_wrapper_freezes_as_a_whole(fake_timm):
    model = TIMMBackbone('resnet', frozen=True).train()
    assert not any(p.requires_grad for p in model.parameters())
    assert not model.timm_model.training


def test_timm_wrapper_names_what_is_wrong(fake_timm):
    with pytest.raises(ConfigError, match=r"'unknown'.*timm\.list_models"):
        TIMMBackbone('unknown')
    with pytest.raises(ConfigError, match="'in_chans'"):
        TIMMBackbone('resnet', timm_args={'in_chans': 1})


def test_timm_missing_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'timm', None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'registry_losses\[timm\]'"):
        TIMMBackbone('resnet18')


def test_timm_for_real():
    try:
        import timm  # noqa: F401
    except (ImportError, RuntimeError):
        pytest.skip('timm is not installed, or its torchvision does not match torch')
    model = TIMMBackbone('resnet18', out_indices=(2, 3, 4)).eval()
    outs = model(torch.randn(1, 3, 64, 64))
    assert model.out_channels == (128, 256, 512)
    assert model.out_strides == (8, 16, 32)
    assert [tuple(o.shape) for o in outs] == [(1, 128, 8, 8), (1, 256, 4, 4), (1, 512, 2, 2)]


def test_docstring_examples_run():
    for info in pkgutil.iter_modules(registry_losses.backbones.__path__):
        module = importlib.import_module(f'registry_losses.backbones.{info.name}')
        with torch.device('meta'):
            assert doctest.testmod(module).failed == 0
