"""TIMMBackbone: options, layouts, freezing, what is missing."""

import sys
import types

import pytest
import torch
from torch import nn

from registry_losses.backbones import TIMMBackbone
from registry_losses.errors import ConfigError, MissingDependencyError


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
