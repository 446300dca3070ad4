"""CenterNet's neck: deconvolutions that double and begin bilinear."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from registry_losses.errors import MissingDependencyError
from registry_losses.necks import CTResNetNeck
from registry_losses.necks.ct_resnet_neck import bilinear_kernel


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
