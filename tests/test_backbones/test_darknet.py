"""Darknet-53: the layers of the paper."""

import torch
from torch import nn

from registry_losses.backbones import Darknet


def test_darknet53_has_52_convolutions_and_leaky_slope_a_tenth():
    with torch.device('meta'):
        model = Darknet(53)
    # The 53rd layer of the paper's table 1 is the classifier.
    assert sum(isinstance(m, nn.Conv2d) for m in model.modules()) == 52
    slopes = {m.negative_slope for m in model.modules() if isinstance(m, nn.LeakyReLU)}
    assert slopes == {0.1}
