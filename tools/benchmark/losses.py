"""Time and memory of the sigmoid losses on sparse targets: ``python tools/benchmark/losses.py``.

Forward and backward of every loss, eager and compiled, against one read and one write of
the logits, against the plain formula on a one-hot target in eager torch, and against the
implementations of other packages that are installed; all in one run. Each is timed warm, after
runs of itself, when a large cache holds what it reads; and cold, with everything in memory,
as the logits of a training step lie there.

Shapes: R rows (class vectors), C classes.
"""

import argparse
import importlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

# A checkout works without being installed; an installed package comes first.
sys.path.append(str(Path(__file__).resolve().parents[2]))
sys.path.append(str(Path(__file__).resolve().parent))

from measure import cold_ms, flusher, known_device, peak_mb, read_size, size_name, synchronize

import registry_losses
from registry_losses import losses
from registry_losses.commands.cli import positive_int, positive_number, whole_number
from registry_losses.structures import ClassTargets

PEERS = ('mmdet', 'torchvision', 'fvcore', 'kornia')
SIZES = ('8kx80', '100kx80', '1Mx80', '20kx1203')
# Runs of a call in its turn: a large cache takes several to hold what it reads for good. A call
# that takes longer, in seconds, reads more than a cache holds, and a few will do.
TURN, LONG, FEW = 14, 0.1, 4
Call = Callable[[], object]


@dataclass(frozen=True)
class Problem:
    """Logits and targets of one size.

    Args:
        x: ``(R, C)`` logits that want a gradient.
        target: Its sparse target; three rows in a thousand hold an object.
        labels: ``(R,)`` the same as labels, C for background.
        scores: ``(R,)`` the qualities of the objects.
    """

    x: Tensor
    target: ClassTargets
    labels: Tensor
    scores: Tensor

    @classmethod
    def of_size(
        cls, rows: int, classes: int, device: torch.device, dtype: torch.dtype
    ) -> 'Problem':
        """Logits as of a detector in training: normal around -3."""
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(rows, classes, generator=generator) - 3
        labels = torch.full((rows,), classes)
        objects = torch.randperm(rows, generator=generator)[: max(rows * 3 // 1000, 1)]
        labels[objects] = torch.randint(0, classes, objects.shape, generator=generator)
        scores = torch.rand(rows, generator=generator) * 0.9 + 0.1
        scores = torch.where(labels < classes, scores, 0).to(device)
        labels = labels.to(device)
        target = ClassTargets.from_labels(labels, classes, scores=scores)
        return cls(x.to(device, dtype).requires_grad_(), target, labels, scores)

    def hard(self) -> ClassTargets:
        """The target with every value 1."""
        return ClassTargets.from_labels(self.labels, self.target.num_classes)

    def one_hot(self, *, soft: bool) -> Tensor:
        """``(R, C)`` dense target, made anew as a training step has to."""
        classes = self.target.num_classes
        hot = F.one_hot(self.labels, classes + 1)[:, :classes].to(self.x.dtype)
        return hot * self.scores[:, None] if soft else hot

    @property
    def objects(self) -> float:
        """What a mean divides by."""
        return float(self.target.rows.numel())


def focal_formula(x: Tensor, v: Tensor) -> Tensor:
    """Focal loss as it is usually written."""
    p = x.sigmoid()
    miss = (1 - p) * v + p * (1 - v)
    balance = 0.25 * v + 0.75 * (1 - v)
    return balance * miss.pow(2) * F.binary_cross_entropy_with_logits(x, v, reduction='none')


def bce_formula(x: Tensor, v: Tensor) -> Tensor:
    """Binary cross entropy."""
    return F.binary_cross_entropy_with_logits(x, v, reduction='none')


def quality_formula(x: Tensor, v: Tensor) -> Tensor:
    """Quality focal loss on dense scores."""
    return (v - x.sigmoid()).abs().pow(2) * bce_formula(x, v)


def varifocal_formula(x: Tensor, v: Tensor) -> Tensor:
    """Varifocal loss on dense scores."""
    hit = (v > 0).to(x.dtype)
    weight = v * hit + 0.75 * (x.sigmoid() - v).abs().pow(2) * (1 - hit)
    return weight * bce_formula(x, v)


def gaussian_formula(x: Tensor, v: Tensor) -> Tensor:
    """Gaussian focal loss."""
    p = x.sigmoid()
    hit = -(p + 1e-12).log() * (1 - p).pow(2) * v.eq(1).to(x.dtype)
    miss = -(1 - p + 1e-12).log() * p.pow(2) * (1 - v).pow(4)
    return hit + miss


@dataclass(frozen=True)
class Row:
    """A loss of this package, and its formula.

    Args:
        build: Makes the loss; takes ``compile``.
        formula: Dense, element by element.
        soft: Whether its targets are qualities.
    """

    build: Callable[..., torch.nn.Module]
    formula: Callable[[Tensor, Tensor], Tensor]
    soft: bool = False


ROWS = {
    'focal': Row(losses.FocalLoss, focal_formula),
    'bce': Row(lambda **k: losses.CrossEntropyLoss(use_sigmoid=True, **k), bce_formula),
    'qfl': Row(losses.QualityFocalLoss, quality_formula, soft=True),
    'vfl': Row(losses.VarifocalLoss, varifocal_formula, soft=True),
    'gaussian': Row(losses.GaussianFocalLoss, gaussian_formula),
}


def ours(row: Row, problem: Problem, compiled: bool) -> Call:
    """Forward and backward of a loss of this package."""
    loss = row.build(compile=compiled).to(problem.x.device)
    target = problem.target if row.soft else problem.hard()
    avg_factor = problem.objects

    def call() -> object:
        out = loss(problem.x, target, avg_factor=avg_factor)
        return torch.autograd.grad(out, problem.x)

    return call


def formula(row: Row, problem: Problem) -> Call:
    """Forward and backward of the dense formula, its one-hot target included."""

    def call() -> object:
        out = row.formula(problem.x, problem.one_hot(soft=row.soft)).sum() / problem.objects
        return torch.autograd.grad(out, problem.x)

    return call


def _peer(name: str, problem: Problem) -> dict[str, Call]:
    """What the package ``name`` offers, by row."""
    x, n, classes = problem.x, problem.objects, problem.target.num_classes

    def run(make: Callable[[], Tensor]) -> Call:
        return lambda: torch.autograd.grad(make(), x)

    if name == 'fvcore':
        module = importlib.import_module('fvcore.nn')
        make = lambda: module.sigmoid_focal_loss(x, problem.one_hot(soft=False), 0.25, 2, 'sum') / n  # noqa: E731
        return {'focal': run(make)}
    if name == 'torchvision':
        module = importlib.import_module('torchvision.ops')
        make = lambda: module.sigmoid_focal_loss(x, problem.one_hot(soft=False), 0.25, 2, 'sum') / n  # noqa: E731
        return {'focal': run(make)}
    if name == 'kornia':
        module = importlib.import_module('kornia.losses')

        def make() -> Tensor:
            hot = problem.one_hot(soft=False)
            return module.binary_focal_loss_with_logits(x, hot, 0.25, 2.0, 'sum') / n

        return {'focal': run(make)}
    module = importlib.import_module('mmdet.models.losses')
    focal, bce = module.FocalLoss(), module.CrossEntropyLoss(use_sigmoid=True)
    quality, varifocal = module.QualityFocalLoss(), module.VarifocalLoss()
    gaussian = module.GaussianFocalLoss()
    pair = (problem.labels, problem.scores)
    return {
        'focal': run(lambda: focal(x, problem.labels, avg_factor=n)),
        'bce': run(lambda: bce(x, problem.labels.clamp(max=classes), avg_factor=n)),
        'qfl': run(lambda: quality(x, pair, avg_factor=n)),
        'vfl': run(lambda: varifocal(x, problem.one_hot(soft=True), avg_factor=n)),
        'gaussian': run(lambda: gaussian(x.sigmoid(), problem.one_hot(soft=False), avg_factor=n)),
    }


def peers(problem: Problem, wanted: list[str]) -> dict[str, dict[str, Call]]:
    """The calls of every other package that can be imported."""
    found = {}
    for name in wanted:
        try:
            found[name] = _peer(name, problem)
        except (ImportError, RuntimeError, AttributeError, AssertionError) as error:
            print(f'{name}: not measured ({str(error).splitlines()[0]})', file=sys.stderr)
    return found


def warm_ms(
    calls: dict[str, Call], device: torch.device, seconds: float, repeat: int
) -> dict[str, float]:
    """The shortest of several runs of each call, every one timed after runs of itself.

    The calls take turns, so that the noise of a shared machine meets all of them.
    """
    best = dict.fromkeys(calls, float('inf'))
    end, rounds = time.perf_counter() + seconds * len(calls), 0
    while rounds * FEW < repeat or time.perf_counter() < end:
        for name, call in calls.items():
            first = _seconds(call, device)
            for _ in range(TURN if first < LONG else FEW):
                best[name] = min(best[name], _seconds(call, device))
        rounds += 1
    return {name: value * 1e3 for name, value in best.items()}


def _seconds(call: Call, device: torch.device) -> float:
    synchronize(device)
    start = time.perf_counter()
    call()
    synchronize(device)
    return time.perf_counter() - start


def measure(size: str, args: argparse.Namespace) -> None:
    """Print the rows of the table for one size."""
    device = torch.device(args.device)
    rows, classes = read_size(size)
    problem = Problem.of_size(rows, classes, device, getattr(torch, args.dtype))
    x = problem.x.detach()
    out = torch.empty_like(x)
    found = {} if args.no_peers else peers(problem, args.peers)
    for name in args.losses:
        row = ROWS[name]
        calls: dict[str, Call] = {
            'pass': lambda: torch.add(x, 1, out=out),
            'ours, eager': ours(row, problem, False),
        }
        if not args.no_compile:
            calls['ours, compiled'] = ours(row, problem, True)
        if not args.no_formula:
            calls['one-hot formula'] = formula(row, problem)
        for peer, offers in found.items():
            if name in offers:
                calls[peer] = offers[name]
        ms = warm_ms(calls, device, args.seconds, args.repeat)
        cold = dict.fromkeys(calls, float('nan'))
        if args.cold_repeat:
            flush = flusher(device)
            cold = {
                key: cold_ms(call, device, args.cold_repeat, flush) for key, call in calls.items()
            }
        logits = x.numel() * x.element_size() / 1e6
        for label, call in calls.items():
            if label == 'pass':
                continue
            peak = peak_mb(call, device)
            print(
                f'| {name} | {size} | {label} | {ms[label]:.2f} | {ms[label] / ms["pass"]:.1f} '
                f'| {cold[label]:.2f} | {cold[label] / cold["pass"]:.1f} '
                f'| {peak:.1f} | {peak / logits:.2f} | {ms[label] / ms["ours, eager"]:.2f} |',
                flush=True,
            )
        print(
            f'| {name} | {size} | *one read and write* | {ms["pass"]:.2f} | 1 '
            f'| {cold["pass"]:.2f} | 1 | | | |',
            flush=True,
        )


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--losses', nargs='+', default=list(ROWS), choices=list(ROWS))
    parser.add_argument(
        '--sizes', nargs='+', type=size_name, default=list(SIZES), help='ROWSxCLASSES'
    )
    parser.add_argument('--device', type=known_device, default='cpu')
    parser.add_argument('--dtype', default='float32', choices=['float32', 'bfloat16', 'float16'])
    parser.add_argument('--threads', type=positive_int, default=torch.get_num_threads())
    parser.add_argument(
        '--seconds', type=positive_number, default=1.0, help='of runs for each line at least'
    )
    parser.add_argument('--repeat', type=positive_int, default=7, help='runs of each line at least')
    parser.add_argument(
        '--cold-repeat', type=whole_number, default=5, help='cold runs of each line; 0: none'
    )
    parser.add_argument('--peers', nargs='+', default=PEERS)
    parser.add_argument('--no-peers', action='store_true')
    parser.add_argument('--no-formula', action='store_true')
    parser.add_argument('--no-compile', action='store_true')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(
        f'registry_losses {registry_losses.__version__}, torch {torch.__version__}, '
        f'{args.device}, {args.dtype}, {args.threads} thread(s)\n'
    )
    print('| loss | size | by | ms | passes | cold ms | passes | extra MB | x logits | x ours |')
    print('|---|---|---|---|---|---|---|---|---|---|')
    for size in args.sizes:
        measure(size, args)


if __name__ == '__main__':
    main()
