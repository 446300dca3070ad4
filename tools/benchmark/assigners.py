"""Time and memory of the assigners against the dense formulas.

    python tools/benchmark/assigners.py [--rows MaxIoU ATSS] [--gts 10 50 300] [--device cuda]

Batches of 16 images of 640 x 640; and one image with a million anchors. A line gives the
milliseconds of a whole batch, the same in read-write passes over 8 M floats, the peak
memory of all tensors made; the dense formula's time and memory in the same run, and how
many times ours is faster; and how many times fewer milliseconds, and passes, ours takes
than the established per-image implementations once took (``ESTABLISHED``). Where mmdet is
installed, its own assigner of the name follows in a line of its own. One thread, unless
--threads.
"""

import argparse
import importlib
import importlib.util
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

# A checkout works without being installed; an installed package comes first.
sys.path.append(str(Path(__file__).resolve().parents[2]))

import dense_formulas as dense
import torch
from measure import best_ms, pass_ms, peak_mb
from mmengine.structures import InstanceData
from torch import Tensor

import registry_losses
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


# What the established per-image implementations (those of MMDetection and MMYOLO) took for
# a batch of 16 at 640 x 640 on another machine with two cores: milliseconds at M = 10, 50
# and 300; and MaxIoU for one image with 1M anchors and 500 gts. A read-write pass took
# 3.3 ms there. The ratio of these to the dense formulas here says how far to trust them.
ESTABLISHED_PASS_MS = 3.3
ESTABLISHED: dict[str, dict[int, float]] = {
    'MaxIoU': {10: 189, 50: 1098, 300: 12807},
    'ATSS': {10: 102, 50: 288, 300: 1188},
    'SimOTA': {10: 591, 50: 6574, 300: 60481},
    'DynamicSoftLabel': {10: 330, 50: 5509, 300: 70586},
    'TaskAligned': {10: 112, 50: 330, 300: 1767},
    'FCOS': {10: 158, 50: 379, 300: 2418},
    'SSD': {10: 27, 50: 128, 300: 471},
    'YOLOV5': {10: 9, 50: 17, 300: 52},
    'million': {500: 22800},
}


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
        peer: Name and options of the same rule in mmdet; None if it has none.
        points: It takes points with strides for priors.
    """

    assigner: Any
    priors: Callable[[], Priors]
    formula: Callable[['Scene', int], Any] | None
    per_batch: bool = False
    size: int = SIZE
    peer: tuple[str, dict] | None = None
    points: bool = False


@dataclass(frozen=True)
class Scene:
    """What a row is timed on."""

    priors: Priors
    gt: GroundTruth
    predictions: Predictions | None

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
        peer=('MaxIoUAssigner', dict(pos_iou_thr=0.5, neg_iou_thr=0.4)),
    ),
    'ATSS': Row(
        ours.ATSSAssigner(),
        square_anchors,
        lambda s, i: dense.atss(s.priors.boxes, s.gts(i), s.priors.level_sizes),
        peer=('ATSSAssigner', dict(topk=9)),
    ),
    'FCOS': Row(ours.FCOSAssigner(), fcos_points, _fcos),
    'SimOTA': Row(
        ours.SimOTAAssigner(),
        yolox_points,
        _point_rule(dense.simota),
        peer=('SimOTAAssigner', {}),
        points=True,
    ),
    'DynamicSoftLabel': Row(
        ours.DynamicSoftLabelAssigner(),
        yolox_points,
        _point_rule(dense.dynamic_soft_label),
        peer=('DynamicSoftLabelAssigner', {}),
        points=True,
    ),
    'TaskAligned': Row(
        ours.TaskAlignedAssigner(),
        yolox_points,
        lambda s, i: dense.task_aligned(s.priors.centers, s.gts(i), s.labels(i), *s.answers(i)),
        peer=('TaskAlignedAssigner', dict(topk=13)),
    ),
    'SSD': Row(
        ours.SSDAssigner(),
        ssd_anchors,
        lambda s, i: dense.max_iou(s.priors.boxes, s.gts(i), 0.5, 0.5, every=False),
        size=300,
        peer=(
            'MaxIoUAssigner',
            dict(pos_iou_thr=0.5, neg_iou_thr=0.5, gt_max_assign_all=False),
        ),
    ),
    'YOLOV5': Row(ours.YOLOV5Assigner(), yolo_anchors, _yolov5, per_batch=True),
    'YOLOV3': Row(ours.YOLOV3Assigner(), yolo_anchors, None),
    'YOLOV1': Row(ours.YOLOV1Assigner(), yolo_anchors, None),
    'Grid': Row(ours.GridAssigner(0.5, 0.5), yolo_anchors, None),
    'Point': Row(ours.PointAssigner(), fcos_points, None),
    'Uniform': Row(ours.UniformAssigner(0.15, 0.7), square_anchors, None),
    'PAA': Row(ours.PAAAssigner(), square_anchors, None),
    'OTA': Row(ours.OTAAssigner(), yolox_points, None),
    'Hungarian': Row(ours.HungarianAssigner(), yolox_points, None),
    'CenterNet': Row(
        ours.CenterNetAssigner(), lambda: MlvlPointGenerator([4], 0.0)([(160, 160)]), None
    ),
    'Gaussian': Row(
        ours.GaussianAssigner(), lambda: MlvlPointGenerator([4], 0.0)([(160, 160)]), None
    ),
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
    return Scene(priors, random_gts(batch, gts, row.size, device), predictions)


def measure(row: Row, scene: Scene, repeat: int) -> tuple[float, float]:
    """Milliseconds and peak MB of our assigner on a scene."""

    def call() -> Any:
        return row.assigner(scene.priors, scene.gt, scene.predictions)

    device = scene.priors.device
    return best_ms(call, device, repeat, seconds=1.0), peak_mb(call, device)


def measure_formula(row: Row, scene: Scene, images: int) -> tuple[float, float] | None:
    """The same of the dense formula: some images, scaled to the batch."""
    if row.formula is None or scene.priors.device.type != 'cpu':
        return None
    formula, scale = row.formula, scene.gt.batch_size / images
    if row.per_batch:
        images, scale = 1, 1.0
    device = scene.priors.device
    elapsed = best_ms(lambda: [formula(scene, i) for i in range(images)], device, 2, 0.5)
    return elapsed * scale, peak_mb(lambda: formula(scene, 0), device)


def peer_of(row: Row, scene: Scene) -> Callable[[], Any] | None:
    """One image through mmdet's assigner of the same rule, where mmdet is installed."""
    if row.peer is None or importlib.util.find_spec('mmdet') is None:
        return None
    name, options = row.peer
    module = importlib.import_module('mmdet.models.task_modules.assigners')
    return peer_call(getattr(module, name)(**options), row, scene)


def peer_call(assigner: Any, row: Row, scene: Scene) -> Callable[[], Any]:
    """One image through an assigner of OpenMMLab's form."""
    priors = scene.priors.boxes
    if row.points:
        priors = torch.cat((scene.priors.centers, scene.priors.strides), dim=1)
    pred = InstanceData(priors=priors)
    if scene.predictions is not None:
        pred.bboxes, pred.scores = scene.answers(0)
    gts = InstanceData(bboxes=scene.gts(0), labels=scene.labels(0))
    extra = (list(scene.priors.level_sizes),) if 'ATSS' in type(assigner).__name__ else ()
    return lambda: assigner.assign(pred, *extra, gts)


def measure_peer(row: Row, scene: Scene) -> tuple[float, float] | None:
    """Milliseconds of a batch, image by image, and peak MB, of mmdet's assigner."""
    call, device = peer_of(row, scene), scene.priors.device
    if call is None:
        return None
    return best_ms(call, device, repeat=2) * scene.gt.batch_size, peak_mb(call, device)


def show(
    name: str,
    gts: int,
    one_pass: float,
    mine: tuple,
    theirs: tuple | None,
    established: float | None = None,
) -> None:
    """Print a line of the table."""
    elapsed, peak = mine
    passes = elapsed / one_pass
    line = f'| {name} | {gts} | {elapsed:.1f} | {passes:.1f} | {peak:.1f} |'
    if theirs is None:
        line += ' | | |'
    else:
        line += f' {theirs[0]:.0f} | {theirs[1]:.0f} | {_times(theirs[0] / elapsed)} |'
    if established is None:
        line += ' | |'
    else:
        fewer = established / ESTABLISHED_PASS_MS / passes
        line += f' {_times(established / elapsed)} | {_times(fewer)} |'
    print(line, flush=True)


def _times(ratio: float) -> str:
    return f'{ratio:.1f} x' if ratio < 10 else f'{ratio:.0f} x'


def million(device: torch.device, one_pass: float, repeat: int, formula: bool) -> None:
    """One image with a million anchors; the dense formula sees a twentieth of them."""
    row, size = ROWS['MaxIoU'], 2304
    priors = to_device(retina_anchors(size), device)
    part = slice(0, priors.num_priors // 20)
    for count in (500, 2000):
        gt = random_gts(1, count, size, device)
        mine = measure(row, Scene(priors, gt, None), repeat)
        theirs = None
        if formula and device.type == 'cpu':
            boxes, gts = priors.boxes[part], gt.boxes[0]
            elapsed = best_ms(lambda: dense.max_iou(boxes, gts, 0.5, 0.4), device, repeat=1)  # noqa: B023
            peak = peak_mb(lambda: dense.max_iou(boxes, gts, 0.5, 0.4), device)  # noqa: B023
            theirs = (elapsed * 20, peak * 20)
        name = f'MaxIoU, one image, {priors.num_priors:,} anchors'
        show(name, count, one_pass, mine, theirs, ESTABLISHED['million'].get(count))


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rows', nargs='*', default=None, help=f'of {", ".join(ROWS)}, million')
    parser.add_argument('--gts', nargs='*', type=int, default=[10, 50, 300])
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--repeat', type=int, default=7)
    parser.add_argument('--no-formula', action='store_true', help='ours alone')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    one_pass = pass_ms(device)
    print(
        f'registry_losses {registry_losses.__version__}, torch {torch.__version__}, {device}, '
        f'{args.threads} thread(s); one pass: {one_pass:.2f} ms'
    )
    print(
        '| work | gts | ms | passes | peak MB | dense ms | dense MB | dense / ours '
        '| established / ours, ms | in passes |'
    )
    print('|---|---|---|---|---|---|---|---|---|---|')
    for name in args.rows or [*ROWS, 'million']:
        if name == 'million':
            million(device, one_pass, args.repeat, not args.no_formula)
            continue
        row = ROWS[name]
        for count in args.gts:
            scene = scene_of(row, BATCH, count, device)
            mine = measure(row, scene, args.repeat)
            images = 2 if count < 100 else 1
            theirs = None if args.no_formula else measure_formula(row, scene, images)
            show(name, count, one_pass, mine, theirs, ESTABLISHED.get(name, {}).get(count))
            peer = None if args.no_formula else measure_peer(row, scene)
            if peer is not None:
                show(f'mmdet {row.peer[0]}', count, one_pass, peer, None)


if __name__ == '__main__':
    main()
