"""ResNet: what mmcv computes, checkpointing, norms, initialisation."""

import math

import mmcv.cnn
import pytest
import torch
from torch import nn

from registry_losses.backbones import ResNet


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


def test_norm_without_gradient_and_group_norm():
    fixed = ResNet(18, base_channels=8, norm_cfg={'type': 'BN', 'requires_grad': False})
    assert not fixed.layer1[0].bn1.weight.requires_grad
    assert fixed.layer1[0].conv1.weight.requires_grad
    grouped = ResNet(18, base_channels=8, norm_cfg={'type': 'GN', 'num_groups': 4})
    assert isinstance(grouped.layer1[0].gn2, nn.GroupNorm)
    assert grouped(torch.randn(1, 3, 32, 32))[0].shape == (1, 8, 8, 8)


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
