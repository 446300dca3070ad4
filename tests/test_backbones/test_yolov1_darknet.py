"""YOLOv1's Darknet: the layers of the paper."""

import torch
from torch import nn

from registry_losses.backbones import YOLOV1Darknet


def test_yolov1_has_the_papers_24_convolutions_and_grid():
    with torch.device('meta'):
        model = YOLOV1Darknet(norm_cfg=False)
        (out,) = model(torch.empty(1, 3, 448, 448))
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert len(convs) == 24
    assert all(conv.bias is not None for conv in convs)
    assert out.shape == (1, 1024, 7, 7)
