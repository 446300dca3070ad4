"""SSD's head (Liu et al., "SSD: Single Shot MultiBox Detector", ECCV 2016).

Shapes: B images, A default boxes a cell (differs by level), C classes.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from typing_extensions import Unpack

from ..errors import ConfigError
from ..registry import MODELS
from .dense_head import DenseHead
from .initial import start_rare_classes
from .options import BoxHeadOptions

_INIT = dict(type='Xavier', layer='Conv2d', distribution='uniform', bias=0)


@MODELS.register_module()
class SSDHead(DenseHead):
    """One 3x3 convolution a level for classes and one for boxes.

    Losses (section 2.2): softmax over the positives and the hardest negatives (the
    sampler's choice, 3 to 1), smooth L1 on encoded boxes; both over the positives.

    Args:
        num_classes: C.
        in_channels: Channels of each feature map.
        prior_generator: Default boxes.
        bbox_coder: Between default boxes and boxes.
        init_cfg: Weight initialisation.
        **common: What dense heads have in common, see :class:`BoxHeadOptions`.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int],
        *,
        init_cfg=_INIT,
        **common: Unpack[BoxHeadOptions],
    ) -> None:
        super().__init__(
            num_classes,
            tuple(in_channels),
            init_cfg=init_cfg,
            **common,
        )

    def _init_layers(self) -> None:
        base = self.prior_generator.num_base_priors
        if len(base) != len(self.in_channels):
            raise ConfigError(
                f'SSDHead.in_channels: {len(self.in_channels)} maps, but the prior generator '
                f'has {len(base)} levels'
            )
        self.cls_convs, self.reg_convs = nn.ModuleList(), nn.ModuleList()
        for channels, a in zip(self.in_channels, base):
            cls = nn.Conv2d(channels, a * self.cls_out_channels, 3, padding=1)
            reg = nn.Conv2d(channels, a * 4, 3, padding=1)
            self.cls_convs.append(nn.Sequential(cls))
            self.reg_convs.append(nn.Sequential(reg))

    def init_weights(self) -> None:
        """Without hard negatives objects start rare: then every prior is charged."""
        super().init_weights()
        if 'row_loss' in self.sampler.needs:
            return
        for conv in self.cls_convs:
            bias = conv.get_parameter('0.bias')
            start_rare_classes(bias, self.num_classes, self.loss_cls)

    def forward(self, feats: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """``(B, A * (C + 1), H, W)`` logits and ``(B, A * 4, H, W)`` codes of each level."""
        logits = [conv(x) for conv, x in zip(self.cls_convs, feats)]
        return logits, [conv(x) for conv, x in zip(self.reg_convs, feats)]
