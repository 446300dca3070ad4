"""SSD's VGG: its layers and sizes, and what it freezes."""

import mmcv.cnn
import torch

from registry_losses.backbones import SSDVGG


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


def test_ssd_vgg_freezes_by_pooling_stage():
    with torch.device('meta'):
        model = SSDVGG(16, frozen_stages=2)
    frozen = {n.split('.')[1] for n, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {'0', '2', '5', '7'}
