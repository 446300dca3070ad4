"""YOLOv1's head (Redmon et al., "You Only Look Once", CVPR 2016).

Shapes: B images, S x S cells, A boxes a cell, C classes.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from typing_extensions import Unpack

from ..errors import ConfigError, ShapeError
from ..registry import MODELS
from ..structures import LossTerm
from .dense_head import DenseHead
from .layouts import Layout, SharedClassMap
from .map_reader import num_outputs
from .options import BoxHeadOptions


@MODELS.register_module()
class YOLOV1Head(DenseHead):
    """A boxes, each with its confidence, and one class vector a cell.

    Losses (eq. 3 of the paper), all squared errors summed over an image: boxes and
    confidence of the responsible predictors, confidence of all others with weight
    ``lambda_noobj``, classes of the cells that hold an object. The confidence of a
    responsible predictor learns its IoU with the gt (section 2). ``lambda_coord`` is the
    ``loss_weight`` of ``loss_bbox``.

    Deviation: sums are divided by the images of the batch, so that the learning rate
    does not depend on the batch size; the original code does the same in its solver.

    Args:
        num_classes: C.
        in_channels: Channels of the feature map.
        prior_generator: Points with ``num_base=A`` and ``shared_classes=True``.
        bbox_coder: YOLOv1's.
        loss_cls: Classification loss of the cells with an object.
        loss_conf: Loss of the confidences.
        lambda_noobj: Weight of the confidence of predictors that are not positive.
        fc_channels: Width of the hidden fully connected layer (4096 in the paper),
            which fixes the input size; None predicts by a 1x1 convolution instead.
        grid_size: S, needed with ``fc_channels``.
        dropout: After the hidden layer (0.5 in the paper).
        init_cfg: Weight initialisation.
        **common: What dense heads have in common, see :class:`BoxHeadOptions`.

    Raises:
        ConfigError: If the prior generator does not share classes within a cell.
    """

    map_names = ('pred',)
    score_factor = 'objectness'
    uses_valid_flags = False

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        *,
        loss_conf,
        lambda_noobj: float = 0.5,
        fc_channels: int | None = None,
        grid_size: int | None = None,
        dropout: float = 0.5,
        init_cfg=None,
        **common: Unpack[BoxHeadOptions],
    ) -> None:
        self.lambda_noobj = lambda_noobj
        self.fc_channels, self.grid_size, self.dropout = fc_channels, grid_size, dropout
        super().__init__(
            num_classes,
            in_channels,
            extra_losses=dict(loss_conf=loss_conf),
            init_cfg=init_cfg,
            **common,
        )

    @property
    def num_boxes(self) -> int:
        """A."""
        return self.prior_generator.num_base_priors[0]

    @property
    def objectness_channels(self) -> int:
        """See :class:`DenseHead`."""
        return num_outputs(1, self.loss_conf)

    def _init_layers(self) -> None:
        if not getattr(self.prior_generator, 'shared_classes', False):
            raise ConfigError(
                'YOLOV1Head.prior_generator: the boxes of a cell share one class vector; '
                "give it dict(type='MlvlPointGenerator', num_base=2, shared_classes=True, ...)"
            )
        values = self.num_boxes * (4 + self.objectness_channels) + self.cls_out_channels
        if self.fc_channels is None:
            self.conv_pred = nn.Conv2d(self.in_channels, values, 1)
            return
        if self.grid_size is None:
            raise ConfigError('YOLOV1Head.grid_size: needed with fc_channels')
        cells = self.grid_size**2
        self.fcs = nn.Sequential(
            nn.Flatten(),
            nn.Linear(self.in_channels * cells, self.fc_channels),
            nn.LeakyReLU(0.1),
            nn.Dropout(self.dropout),
            nn.Linear(self.fc_channels, values * cells),
        )

    def forward(self, feats: Sequence[Tensor]) -> tuple[list[Tensor]]:
        """``(B, A * 5 + C, S, S)``: boxes, then confidences, then classes."""
        x = feats[-1]
        if self.fc_channels is None:
            return ([self.conv_pred(x)],)
        if x.shape[-2:] != (self.grid_size, self.grid_size):
            raise ShapeError(
                f'YOLOV1Head: its fully connected layers need a {self.grid_size} x '
                f'{self.grid_size} map, got {tuple(x.shape[-2:])}; resize the images to '
                'a fixed size, or set fc_channels=None'
            )
        return ([self.fcs(x).unflatten(1, (-1, self.grid_size, self.grid_size))],)

    def layout(self) -> Layout:
        """Boxes and objectness a prior, classes a cell."""
        return SharedClassMap(4, self.objectness_channels, self.cls_out_channels)

    def default_terms(self) -> tuple[LossTerm, ...]:
        """Squared errors, summed over each image."""
        sums: dict[str, Any] = dict(normalizer='batch')
        return (
            LossTerm(
                'loss_cls',
                self.loss_cls,
                kind='classification',
                branch='cls',
                rows='class_rows',
                target_quality='one',
                **sums,
            ),
            LossTerm(
                'loss_conf',
                self.loss_conf,
                kind='objectness',
                branch='objectness',
                target_quality='iou',
                negative_weight=self.lambda_noobj,
                **sums,
            ),
            LossTerm('loss_bbox', self.loss_bbox, kind=self.box_kind(), branch='bbox', **sums),
        )
