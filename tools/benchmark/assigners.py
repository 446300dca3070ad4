"""Time and memory of the assigners, against the dense formulas and installed packages.

    python tools/benchmark/assigners.py [--rows MaxIoU ATSS] [--gts 10 50 300] [--device cuda]

Batches of 16 images of 640 x 640; and one image with a million anchors. A line gives the
milliseconds of a whole batch, the same in read-write passes over 8 M floats, the peak
memory of all tensors made; the dense formula's time and memory in the same run, and how
many times ours is faster; how many times fewer passes ours takes than the established
implementations once took (``ESTABLISHED``), by the pass measured hot and by one from
memory; and the gate. Where mmdet or mmyolo is installed, a second table sets ours beside
their own code, in the same process (``--installed`` for that alone). One thread, unless
--threads.
"""

import argparse
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
from measure import best_ms, cold_pass_ms, known_device, pass_ms, peak_mb
from peers import PEERS, installed, peers_of, shortest_ms
from torch import Tensor

import registry_losses
from registry_losses import assigners as ours
from registry_losses.commands.cli import positive_int
from registry_losses.errors import nearest_names
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
# How many times fewer passes ours is to take, at M = 50; and milliseconds for the million.
GATES: dict[str, float] = {
    'MaxIoU': 60,
    'ATSS': 20,
    'SimOTA': 30,
    'DynamicSoftLabel': 30,
    'TaskAligned': 5,
    'FCOS': 8,
    'SSD': 8,
    'YOLOV5': 1,
}
MILLION_GATE_MS = 30.0


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


@dataclass(frozen=True)
class Yardsticks:
    """Milliseconds of a read-write pass over 8 M floats, hot and from memory."""

    hot: float
    memory: float


def show(
    work: str,
    gts: int,
    passes: Yardsticks,
    mine: tuple[float, float],
    dense: tuple[float, float] | None,
    row: str,
) -> None:
    """Print a line of the first table."""
    elapsed, peak = mine
    cells = [work, f'{gts:,}', f'{elapsed:.1f}', f'{elapsed / passes.hot:.1f}', f'{peak:.1f}']
    if dense is None:
        cells += ['', '', '']
    else:
        cells += [f'{dense[0]:.0f}', f'{dense[1]:.0f}', _times(dense[0] / elapsed)]
    established = ESTABLISHED.get(row, {}).get(gts)
    if established is None:
        cells += ['', '', '']
    else:
        fewer = established / ESTABLISHED_PASS_MS / elapsed
        cells += [_times(fewer * passes.hot), _times(fewer * passes.memory)]
        if row == 'million':
            cells.append(verdict(MILLION_GATE_MS, elapsed <= MILLION_GATE_MS, 'ms'))
        else:
            gate = GATES[row]
            cells.append(verdict(gate, fewer * passes.hot >= gate) if gts == 50 else '')
    print('| ' + ' | '.join(cells) + ' |', flush=True)


def verdict(gate: float, reached: bool, unit: str = 'x') -> str:
    """The gate, and whether it is reached."""
    return f'{gate:.0f} {unit}: {"reached" if reached else "missed"}'


def _times(ratio: float) -> str:
    return f'{ratio:.1f} x' if ratio < 10 else f'{ratio:.0f} x'


def million(device: torch.device, passes: Yardsticks, repeat: int, formula: bool) -> None:
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
        show(name, count, passes, mine, theirs, 'million')


def against_installed(
    names: list[str], counts: list[int], device: torch.device, repeat: int
) -> None:
    """The second table: ours and what is installed, in turn."""
    print('| work | gts | ours, ms | installed | ms | installed / ours | gate |')
    print('|---|---|---|---|---|---|---|')
    for name in names:
        for count in counts:
            row = ROWS[name]
            scene = scene_of(row, BATCH, count, device)

            def call(row: Row = row, scene: Scene = scene) -> Any:
                return row.assigner(scene.priors, scene.gt, scene.predictions)

            # The gate is set by what works image by image, the first of a row.
            for number, (label, theirs) in enumerate(peers_of(name, scene)):
                mine = best_ms(call, device, repeat, seconds=0.7)
                other = shortest_ms(theirs)
                gate = GATES.get(name) if count == 50 and number == 0 else None
                text = '' if gate is None else verdict(gate, other / mine >= gate)
                print(
                    f'| {name} | {count} | {mine:.1f} | {label} | {other:.1f} '
                    f'| {_times(other / mine)} | {text} |',
                    flush=True,
                )


def row_name(text: str) -> str:
    """A row as the tables print it: ``SSD``, ``SSD300``, ``MaxIoU, one image, ...``."""
    name = text.partition(',')[0].strip().removesuffix('Assigner')
    if name.startswith('MaxIoU') and 'one image' in text:
        return 'million'
    name = {'SSD300': 'SSD', 'YOLOv5': 'YOLOV5', 'YOLOv3': 'YOLOV3', 'YOLOv1': 'YOLOV1'}.get(
        name, name
    )
    if name not in (*ROWS, 'million'):
        near = ', '.join(nearest_names(name, [*ROWS, 'million']) or [*ROWS, 'million'])
        raise argparse.ArgumentTypeError(f'no row {text!r}; nearest: {near}')
    return name


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--rows', nargs='*', type=row_name, default=None, help=f'of {", ".join(ROWS)}, million'
    )
    parser.add_argument('--gts', nargs='*', type=positive_int, default=[10, 50, 300])
    parser.add_argument('--device', type=known_device, default='cpu')
    parser.add_argument('--threads', type=positive_int, default=1)
    parser.add_argument('--repeat', type=positive_int, default=7)
    parser.add_argument('--no-formula', action='store_true', help='no dense formulas')
    parser.add_argument('--installed', action='store_true', help='only against what is installed')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    passes = Yardsticks(pass_ms(device), cold_pass_ms(device))
    print(
        f'registry_losses {registry_losses.__version__}, torch {torch.__version__}, {device}, '
        f'{args.threads} thread(s); pass: {passes.hot:.2f} ms, '
        f'pass from memory: {passes.memory:.2f} ms\n'
    )
    names = args.rows or [*ROWS, 'million']
    if not args.installed:
        print(
            '| work | gts | ms | passes | peak MB | dense ms | dense MB | dense / ours '
            '| established / ours: pass | pass from memory | gate |'
        )
        print('|---|---|---|---|---|---|---|---|---|---|---|')
        for name in names:
            if name == 'million':
                million(device, passes, args.repeat, not args.no_formula)
                continue
            for count in args.gts:
                scene = scene_of(ROWS[name], BATCH, count, device)
                mine = measure(ROWS[name], scene, args.repeat)
                images = 2 if count < 100 else 1
                formula = None if args.no_formula else measure_formula(ROWS[name], scene, images)
                show(name, count, passes, mine, formula, name)
    names = [n for n in names if any(installed(peer[0]) for peer in PEERS.get(n, []))]
    if names and not args.no_formula and device.type == 'cpu':
        if not args.installed:
            print()
        against_installed(names, args.gts, device, args.repeat)


if __name__ == '__main__':
    main()
