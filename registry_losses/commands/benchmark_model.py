"""``tools/benchmark_model.py``: how large a model is, how much it computes, how long it takes."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .cli import add_cfg_options, add_trust, positive_int, run_command

if TYPE_CHECKING:
    import torch
    from torch import nn


def benchmark_model_parser() -> argparse.ArgumentParser:
    """The arguments of ``tools/benchmark_model.py``."""
    parser = argparse.ArgumentParser(
        description='Parameters, floating point operations, latency and memory of a model.'
    )
    parser.add_argument('config', help='config file, or registry_losses::NAME for one of ours')
    parser.add_argument(
        '--checkpoint',
        help='weights; without them few boxes reach NMS, which is faster than after training',
    )
    parser.add_argument(
        '--image-size',
        nargs=2,
        type=positive_int,
        metavar=('W', 'H'),
        help="of the input; default: what the test pipeline resizes to, for the network's strides",
    )
    parser.add_argument('--batch-size', type=positive_int, default=1, help='default: 1')
    parser.add_argument('--runs', type=positive_int, default=50, help='timed runs (default 50)')
    parser.add_argument('--device', help='cpu, cuda, cuda:1 ...; default: a GPU if there is one')
    parser.add_argument('--channels-last', action='store_true', help='channels innermost')
    parser.add_argument('--out', metavar='FILE.json', help='write the figures here too')
    add_trust(parser)
    add_cfg_options(parser, 'model.test_cfg.nms_pre=300')
    return parser


def benchmark_model(args: argparse.Namespace) -> None:
    """Count, time and print."""
    import torch
    from mmengine.registry import init_default_scope

    from ..config import load_config
    from ..engine.threads import choose_threads, use_threads
    from ..engine.weights import load_weights, without_pretrained
    from ..registry import MODELS
    from .detector import find_device
    from .input_size import input_size

    threads = choose_threads()
    use_threads(threads)
    cfg = load_config(args.config, options=args.cfg_options)
    init_default_scope(cfg.default_scope)
    size = input_size(cfg, args.image_size)
    device = find_device(args.device)
    torch.manual_seed(0)
    model = MODELS.build(without_pretrained(cfg.model))
    if args.checkpoint:
        load_weights(model, args.checkpoint)
    elif hasattr(model, 'init_weights'):
        disabled = logging.root.manager.disable
        logging.disable(logging.INFO)  # a line a parameter
        model.init_weights()
        logging.disable(disabled)
    model.to(device).eval()
    if args.channels_last:
        model.to(memory_format=torch.channels_last)
    found: dict[str, Any] = dict(
        config=str(args.config),
        input=[args.batch_size, 3, size[1], size[0]],
        device=torch.cuda.get_device_name(device) if device.type == 'cuda' else 'CPU',
        threads=str(threads),
        torch=torch.__version__,
    )
    found |= measure_model(model, size, batch_size=args.batch_size, runs=args.runs, device=device)
    print('\n'.join(describe(found)))
    if args.out:
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        Path(args.out).write_text(json.dumps(found, indent=2), encoding='utf-8')
        print(args.out)


def measure_model(
    model: nn.Module,
    size: tuple[int, int],
    *,
    batch_size: int = 1,
    runs: int = 50,
    device: torch.device | str = 'cpu',
) -> dict[str, Any]:
    """Figures of a detector in evaluation.

    Args:
        model: With ``extract_feat`` and ``predict``, as the detectors of this package.
        size: (W, H) of the input.
        batch_size: Images of a run.
        runs: Timed ones, after a tenth as many that are not.
        device: Where the model is.

    Returns:
        ``parameters`` and ``parts`` (numbers by top module), ``flops`` (of one image; a
        multiply-add counts as two) and ``flops_parts``, ``latency`` (seconds of a run, from
        the normalised images to the boxes: median, 10th and 90th percentile, ``network``,
        the median without choosing boxes), ``memory`` (bytes, see :func:`peak_memory`).
    """
    import numpy as np
    import torch

    from ..structures import DetDataSample

    device = torch.device(device)
    width, height = size
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(batch_size, 3, height, width, generator=generator).to(device) * 4 - 2
    meta: dict[str, Any] = dict(
        img_shape=(height, width), ori_shape=(height, width), scale_factor=(1.0, 1.0)
    )
    meta |= dict(pad_shape=(height, width), batch_input_shape=(height, width), img_id=0)

    def whole() -> None:
        model(images, [DetDataSample(metainfo=meta) for _ in range(batch_size)], mode='predict')

    def network() -> None:
        model(images, mode='tensor')

    parts = {name: _parameters(part) for name, part in model.named_children()}
    with torch.no_grad():
        memory = peak_memory(whole, device)
        flops, flops_parts = count_flops(model, images[:1])
        times = run_times(whole, runs, device)
        alone = run_times(network, max(runs // 2, 1), device) if _plain_maps(model) else times
    low, middle, high = np.percentile(times, [10, 50, 90])
    return dict(
        parameters=_parameters(model),
        parts={name: count for name, count in parts.items() if count},
        flops=flops,
        flops_parts=flops_parts,
        latency=dict(
            median=float(middle),
            p10=float(low),
            p90=float(high),
            network=float(np.median(alone)) if _plain_maps(model) else None,
            runs=runs,
        ),
        memory=memory,
    )


def _parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _plain_maps(model: nn.Module) -> bool:
    """Whether ``mode='tensor'`` is the whole network: not with a second stage behind NMS."""
    return not hasattr(model, 'roi_head')


def count_flops(model: nn.Module, image: torch.Tensor) -> tuple[int, dict[str, int]]:
    """Floating point operations for one image, all and by part, by PyTorch's own counter.

    Convolutions, matrix products and attention count, a multiply-add as two; what a
    second stage does depends on the number of its proposals and is not counted.
    """
    from torch.utils.flop_counter import FlopCounterMode

    def counted(work: Callable[[], Any]) -> tuple[int, Any]:
        with FlopCounterMode(display=False) as counter:
            result = work()
        return int(counter.get_total_flops()), result

    modules = dict(model.named_children())
    parts: dict[str, int] = {}
    feats: Any = image
    for name in ('backbone', 'neck'):
        if name in modules:
            parts[name], feats = counted(lambda: modules[name](feats))  # noqa: B023
    for name in ('bbox_head', 'rpn_head', 'head'):
        if name in modules:
            parts[name], _ = counted(lambda: modules[name](feats))  # noqa: B023
    return sum(parts.values()), parts


def run_times(work: Callable[[], Any], runs: int, device: torch.device) -> list[float]:
    """Seconds of each run, after some to warm up."""
    import time

    import torch

    times = []
    for index in range(-max(runs // 10, 2), runs):
        if device.type == 'cuda':
            torch.cuda.synchronize(device)
        begin = time.perf_counter()
        work()
        if device.type == 'cuda':
            torch.cuda.synchronize(device)
        if index >= 0:
            times.append(time.perf_counter() - begin)
    return times


def peak_memory(work: Callable[[], Any], device: torch.device) -> dict[str, int]:
    """Bytes that a run needs at its highest.

    On a GPU ``peak``, what PyTorch allocates, weights included. On a CPU ``peak``, the most
    memory the process has held, PyTorch itself included, and ``run``, by how much the first
    run raised it.
    """
    import torch

    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)
        work()
        torch.cuda.synchronize(device)
        return dict(peak=torch.cuda.max_memory_allocated(device))
    before = _resident()
    work()
    after = _resident()
    return dict(peak=after, run=after - before) if after else {}


def _resident() -> int:
    """The most bytes this process has held; 0 where the system does not tell."""
    import sys

    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == 'darwin' else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def describe(found: dict[str, Any]) -> list[str]:
    """The figures as lines of text."""
    batch, _, height, width = found['input']
    latency, memory = found['latency'], found['memory']
    ms = {k: v * 1e3 for k, v in latency.items() if k != 'runs' and v is not None}
    lines = [
        f'{found["config"]}: {batch} image{"s" * (batch != 1)} of {width} x {height}, '
        f'{found["device"]}, {found["threads"]}, PyTorch {found["torch"]}',
        f'parameters  {found["parameters"] / 1e6:.3f} M ('
        + ', '.join(f'{name} {count / 1e6:.3f}' for name, count in found['parts'].items())
        + ')',
        f'operations  {found["flops"] / 1e9:.3f} GFLOP an image ('
        + ', '.join(f'{name} {count / 1e9:.3f}' for name, count in found['flops_parts'].items())
        + '); a multiply-add is two',
        f'latency     {ms["median"]:.2f} ms, median of {latency["runs"]} runs '
        f'(10th to 90th percentile {ms["p10"]:.2f} to {ms["p90"]:.2f})'
        + (f'; {ms["network"]:.2f} without choosing boxes' if 'network' in ms else ''),
        f'throughput  {batch / latency["median"]:.1f} images a second',
    ]
    if memory:
        text = f'memory      {memory["peak"] / 2**20:.0f} MB at most'
        if 'run' in memory:
            text += f', PyTorch included; a run adds {memory["run"] / 2**20:.0f} MB'
        lines.append(text)
    return lines


def benchmark_model_main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``tools/benchmark_model.py``."""
    run_command(benchmark_model_parser(), benchmark_model, argv)
