"""All backbones: outputs, gradients, modes, freezing, errors."""

import math

import pytest
import torch
from backbone_table import SMALL
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from registry_losses.backbones import (
    SSDVGG,
    Darknet,
    HRNet,
    ResNet,
    TinyNet,
    YOLOV1Darknet,
    YOLOv5CSPDarknet,
    hrnet_extra,
)
from registry_losses.errors import ConfigError

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


@pytest.mark.parametrize('name', [*SMALL, *BIG])
def test_outputs_have_the_announced_widths_and_strides(name):
    with torch.device('meta'):
        model = {**SMALL, **BIG}[name]()
        # YOLOv1's pools round down, as in the paper; its head wants multiples of 64.
        for size in ((256, 320),) if name == 'yolov1' else ((256, 320), (250, 331)):
            outs = model(torch.empty(2, 3, *size))
            assert isinstance(outs, tuple)
            assert len(outs) == len(model.out_channels) == len(model.out_strides)
            for out, channels, stride in zip(outs, model.out_channels, model.out_strides):
                # Rounding up at each halving equals rounding up once.
                height, width = math.ceil(size[0] / stride), math.ceil(size[1] / stride)
                assert out.shape == (2, channels, height, width)


@pytest.mark.parametrize('name', SMALL)
def test_every_parameter_learns(name):
    torch.manual_seed(0)
    model = SMALL[name]().train()
    # Large enough that no 3x3 kernel of the last stage sees only padding.
    outs = model(torch.randn(2, 3, 128, 128))
    sum((out * torch.randn_like(out)).sum() for out in outs).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


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


@pytest.mark.parametrize('name', SMALL)
def test_modes_and_norm_eval_hold_every_batch_norm(name):
    model = SMALL[name](norm_eval=True)
    assert model.eval() is model
    assert not any(m.training for m in model.modules())
    assert model.train() is model
    assert model.training
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    assert norms and not any(n.training for n in norms)
    assert all(p.requires_grad for p in model.parameters())


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
