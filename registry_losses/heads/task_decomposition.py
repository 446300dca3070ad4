"""One task's view of layers that several tasks share (Feng et al., TOOD, ICCV 2021).

Shapes: B images, F channels, n layers, H x W cells.
"""

from mmcv.cnn import ConvModule
from torch import Tensor, nn

# Of hidden layers: behind a few ReLUs, all closed for all images, nothing would learn.
LEAST_WIDTH = 8


class TaskDecomposition(nn.Module):
    """One task's view of the layers' outputs: each layer weighted, then mixed to F channels.

    The weights follow from the outputs' means over the map (section 3.1, equations 2 and 3).

    Args:
        channels: F of each layer.
        depth: n.
        conv_cfg: Of the mixing convolution, mmcv's.
        norm_cfg: Of the mixing convolution, mmcv's.
    """

    def __init__(
        self, channels: int, depth: int, *, conv_cfg: dict | None, norm_cfg: dict | None
    ) -> None:
        super().__init__()
        self.channels, self.depth = channels, depth
        inside = channels * depth
        narrow = max(channels // 8, LEAST_WIDTH)
        self.layer_attention = nn.Sequential(
            nn.Conv2d(inside, narrow, 1), nn.ReLU(inplace=True), nn.Conv2d(narrow, depth, 1),
            nn.Sigmoid(),
        )  # fmt: skip
        self.reduction_conv = ConvModule(
            inside, channels, 1, conv_cfg=conv_cfg, norm_cfg=norm_cfg, bias=norm_cfg is None
        )

    def forward(self, feats: Tensor, mean: Tensor) -> Tensor:
        """``(B, n F, H, W)`` and its mean ``(B, n F, 1, 1)`` to ``(B, F, H, W)``."""
        by_layer = self.layer_attention(mean)  # (B, n, 1, 1)
        weighted = feats.unflatten(1, (self.depth, self.channels)) * by_layer.unsqueeze(2)
        return self.reduction_conv(weighted.flatten(1, 2))
