"""What the assigners are timed on: priors, gts and predictions of each row of the table."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import dense_formulas as dense
import torch
from torch import Tensor

from registry_losses import assigners as ours
from registry_losses.priors import (
    AnchorGenerator,
    MlvlPointGenerator,
    SSDAnchorGenerator,
    YOLOAnchorGenerator,
)
from registry_losses.structures import GroundTruth, Predictions, Priors

SIZE, BATCH, CLASSES = 640, 16, 80
P3, YOLO = [8, 16, 32, 64, 128], [8, 16, 32]
YOLO_SHAPES = [
    [(10, 13), (16, 30), (33, 23)],
    [(30, 61), (62, 45), (59, 119)],
    [(116, 90), (156, 198), (373, 326)],
]


def cells(strides: list[int], size: int = SIZE) -> list[tuple[int, int]]:
    """Feature map sizes."""
    return [(math.ceil(size / s), math.ceil(size / s)) for s in strides]


def retina_anchors(size: int = SIZE) -> Priors:
    """RetinaNet's, 9 a cell; 76,725 at 640 x 640."""
    ratios = [0.5, 1.0, 2.0]
    generator = AnchorGenerator(P3, ratios=ratios, octave_base_scale=4, scales_per_octave=3)
    return generator(cells(P3, size))


def square_anchors() -> Priors:
    """ATSS's, 1 a cell; 8,525."""
    generator = AnchorGenerator(P3, ratios=[1.0], octave_base_scale=8, scales_per_octave=1)
    return generator(cells(P3))


def fcos_points() -> Priors:
    """FCOS's; 8,525."""
    return MlvlPointGenerator(P3)(cells(P3))


def yolox_points() -> Priors:
    """YOLOX's; 8,400."""
    return MlvlPointGenerator(YOLO, 0.0)(cells(YOLO))


def yolo_anchors() -> Priors:
    """YOLOv5's; 25,200."""
    return YOLOAnchorGenerator(YOLO, YOLO_SHAPES)(cells(YOLO))


def ssd_anchors() -> Priors:
    """SSD300's; 8,732."""
    shapes = [[2], [2, 3], [2, 3], [2, 3], [2], [2]]
    generator = SSDAnchorGenerator([8, 16, 32, 64, 100, 300], shapes)
    return generator([(n, n) for n in (38, 19, 10, 5, 3, 1)])


def random_gts(batch: int, count: int, size: int, device: torch.device) -> GroundTruth:
    """Sides from 16 to 320 pixels at 640, log uniform, anywhere in the image."""
    g = torch.Generator().manual_seed(0)
    side = 16 * size / SIZE * torch.exp(torch.rand(batch, count, 2, generator=g) * math.log(20))
    side = side.clamp(min=16)
    center = torch.rand(batch, count, 2, generator=g) * size
    boxes = torch.cat((center - side / 2, center + side / 2), dim=-1).clamp(0, size)
    labels = torch.randint(0, CLASSES, (batch, count), generator=g)
    return GroundTruth.from_lists(list(boxes), list(labels), [(size, size)] * batch, device=device)


def random_predictions(priors: Priors, batch: int) -> Predictions:
    """Boxes as an early network's: the right place, any size from 1 to 16 strides."""
    g = torch.Generator().manual_seed(1)
    n = priors.num_priors
    strides = priors.strides.cpu()
    center = priors.centers.cpu() + (torch.rand(batch, n, 2, generator=g) - 0.5) * strides
    half = strides * torch.exp(torch.rand(batch, n, 2, generator=g) * math.log(16)) / 2
    scores = torch.rand(batch, n, CLASSES, generator=g).pow(4)
    boxes = torch.cat((center - half, center + half), dim=-1)
    return Predictions(boxes.to(priors.device), scores.to(priors.device))


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Args:
        assigner: Ours.
        priors: Builds the priors.
        formula: ``formula(scene, image)``, the dense formula on one image; None for
            none.
        per_batch: The formula takes the batch at once.
        size: Side of the image.
    """

    assigner: Any
    priors: Callable[[], Priors]
    formula: Callable[['Scene', int], Any] | None = None
    per_batch: bool = False
    size: int = SIZE


@dataclass(frozen=True)
class Scene:
    """What a row is timed on."""

    priors: Priors
    gt: GroundTruth
    predictions: Predictions | None
    size: int = SIZE
    num_classes: int = CLASSES

    def gts(self, i: int) -> Tensor:
        """``(M, 4)`` of one image."""
        return self.gt.boxes[i, self.gt.valid[i]]

    def labels(self, i: int) -> Tensor:
        """``(M,)`` of one image."""
        return self.gt.labels[i, self.gt.valid[i]]

    def answers(self, i: int) -> tuple[Tensor, Tensor]:
        """Predicted boxes and scores of one image."""
        assert self.predictions is not None
        return self.predictions.boxes[i], self.predictions.scores[i]


def _fcos(s: Scene, i: int) -> Tensor:
    ranges = ours.fcos.regress_ranges_of(s.priors.levels)
    table = torch.tensor(ranges).repeat_interleave(torch.tensor(s.priors.level_sizes), dim=0)
    return dense.fcos(s.priors.centers, s.gts(i), table)


def _point_rule(rule: Callable) -> Callable[[Scene, int], Tensor]:
    def call(s: Scene, i: int) -> Tensor:
        return rule(s.priors.centers, s.priors.strides, s.gts(i), s.labels(i), *s.answers(i))

    return call


def _yolov5(s: Scene, _: int) -> list[Tensor]:
    image = torch.arange(s.gt.batch_size).repeat_interleave(s.gt.max_gts)
    grids = [
        (level.width, int(level.stride[0]), torch.tensor(level.base_sizes))
        for level in s.priors.levels
    ]
    return dense.yolov5(s.gt.boxes.reshape(-1, 4), image, grids)


ROWS = {
    'MaxIoU': Row(
        ours.MaxIoUAssigner(0.5, 0.4),
        retina_anchors,
        lambda s, i: dense.max_iou(s.priors.boxes, s.gts(i), 0.5, 0.4),
    ),
    'ATSS': Row(
        ours.ATSSAssigner(),
        square_anchors,
        lambda s, i: dense.atss(s.priors.boxes, s.gts(i), s.priors.level_sizes),
    ),
    'FCOS': Row(ours.FCOSAssigner(), fcos_points, _fcos),
    'SimOTA': Row(
        ours.SimOTAAssigner(),
        yolox_points,
        _point_rule(dense.simota),
    ),
    'DynamicSoftLabel': Row(
        ours.DynamicSoftLabelAssigner(),
        yolox_points,
        _point_rule(dense.dynamic_soft_label),
    ),
    'TaskAligned': Row(
        ours.TaskAlignedAssigner(),
        yolox_points,
        lambda s, i: dense.task_aligned(s.priors.centers, s.gts(i), s.labels(i), *s.answers(i)),
    ),
    'SSD': Row(
        ours.SSDAssigner(),
        ssd_anchors,
        lambda s, i: dense.max_iou(s.priors.boxes, s.gts(i), 0.5, 0.5, every=False),
        size=300,
    ),
    'YOLOV5': Row(ours.YOLOV5Assigner(), yolo_anchors, _yolov5, per_batch=True),
    'BatchATSS': Row(ours.BatchATSSAssigner(CLASSES), square_anchors),
    'BatchTaskAligned': Row(ours.BatchTaskAlignedAssigner(CLASSES), yolox_points),
    'YOLOV3': Row(ours.YOLOV3Assigner(), yolo_anchors),
    'YOLOV1': Row(ours.YOLOV1Assigner(), yolo_anchors),
    'Grid': Row(ours.GridAssigner(0.5, 0.5), yolo_anchors),
    'Point': Row(ours.PointAssigner(), fcos_points),
    'Uniform': Row(ours.UniformAssigner(0.15, 0.7), square_anchors),
    'PAA': Row(ours.PAAAssigner(), square_anchors),
    'OTA': Row(ours.OTAAssigner(), yolox_points),
    'Hungarian': Row(ours.HungarianAssigner(), yolox_points),
    'CenterNet': Row(ours.CenterNetAssigner(), lambda: MlvlPointGenerator([4], 0.0)([(160, 160)])),
    'Gaussian': Row(ours.GaussianAssigner(), lambda: MlvlPointGenerator([4], 0.0)([(160, 160)])),
}


def to_device(value: Any, device: torch.device) -> Any:
    """A value object with its tensors on a device."""
    fields = {k: v.to(device) for k, v in vars(value).items() if isinstance(v, Tensor)}
    return replace(value, **fields)


def scene_of(row: Row, batch: int, gts: int, device: torch.device) -> Scene:
    """The inputs of a row."""
    priors = to_device(row.priors(), device)
    predictions = None
    if 'predictions' in row.assigner.needs:
        predictions = random_predictions(priors, batch)
    return Scene(priors, random_gts(batch, gts, row.size, device), predictions, row.size)
