"""The necks that are tested, and maps for them."""

import torch

from registry_losses.necks import (
    FPN,
    YOLOXPAFPN,
    CSPNeXtPAFPN,
    CTResNetNeck,
    SSDNeck,
    YOLOV3Neck,
    YOLOv4CSPPAN,
    YOLOv5PAFPN,
)


def pyramid(widths, size=(40, 56), batch=2):
    """Random maps, sizes halved and rounded up from level to level."""
    torch.manual_seed(0)
    maps = []
    for width in widths:
        maps.append(torch.randn(batch, width, *size))
        size = tuple(-(-s // 2) for s in size)
    return maps


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
