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
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# A checkout works without being installed; an installed package comes first.
sys.path.append(str(Path(__file__).resolve().parents[2]))

import dense_formulas as dense
import torch
from assigner_rows import BATCH, ROWS, Row, Scene, random_gts, retina_anchors, scene_of, to_device
from measure import best_ms, cold_pass_ms, known_device, pass_ms, peak_mb
from peers import PEERS, installed, peers_of, shortest_ms

import registry_losses
from registry_losses.commands.cli import positive_int
from registry_losses.errors import nearest_names

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
        '--rows', nargs='+', type=row_name, default=None, help=f'of {", ".join(ROWS)}, million'
    )
    parser.add_argument('--gts', nargs='+', type=positive_int, default=[10, 50, 300])
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
