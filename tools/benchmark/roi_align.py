"""RoIAlign in plain torch beside the compiled operator: milliseconds and peak memory.

The operator is that of mmcv or torchvision where one is installed. ``--mmcv-source`` builds
mmcv's from its source folder (``pip download --no-deps --no-binary :all: mmcv`` and unpack),
which takes a minute and needs a C++ compiler and ninja.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

# A checkout works without being installed; an installed package comes first.
sys.path.append(str(Path(__file__).resolve().parents[2]))

import torch
from measure import best_ms, peak_mb
from torch import Tensor

from registry_losses.commands.cli import positive_int
from registry_losses.errors import MissingDependencyError
from registry_losses.ops import roi_align

# Name, (B, C, H, W), regions, pixels a cell, least and largest side in pixels.
CASES = (
    ('P2 of 800 x 1333', (2, 256, 200, 336), 512, 4, 20, 112),
    ('P3 of 800 x 1333', (2, 256, 100, 168), 256, 8, 112, 224),
    ('P4 of 800 x 1333', (2, 256, 50, 84), 128, 16, 224, 448),
    ('P5 of 800 x 1333', (2, 256, 25, 42), 128, 32, 448, 1300),
    ('any side, one map', (2, 256, 50, 84), 1000, 16, 16, 1300),
    ('few, narrow', (2, 64, 50, 84), 100, 16, 100, 500),
    ('digits', (8, 48, 32, 32), 512, 4, 16, 56),
)
_BINDING = """
#include <torch/extension.h>
using at::Tensor;
void roi_align_forward(Tensor, Tensor, Tensor, Tensor, Tensor, int, int, float, int, int, bool);
void roi_align_backward(Tensor, Tensor, Tensor, Tensor, Tensor, int, int, float, int, int, bool);
PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  m.def("forward", &roi_align_forward);
  m.def("backward", &roi_align_backward);
}
"""


def built_operator(source: Path) -> Callable[..., Tensor]:
    """Mmcv's operator for the CPU, compiled from its source."""
    from torch.utils.cpp_extension import load

    root = source / 'mmcv' / 'ops' / 'csrc'
    folder = Path(tempfile.mkdtemp())
    (folder / 'binding.cpp').write_text(_BINDING)
    # Two files of one name: objects would overwrite each other.
    (folder / 'roi_align_cpu.cpp').write_text(
        (root / 'pytorch' / 'cpu' / 'roi_align.cpp').read_text()
    )
    files = [
        folder / 'binding.cpp',
        root / 'pytorch' / 'roi_align.cpp',
        folder / 'roi_align_cpu.cpp',
    ]
    module = load(
        'mmcv_roi_align',
        [str(file) for file in files],
        extra_include_paths=[str(root / 'common')],
        extra_cflags=['-O3', '-std=c++20'],
        build_directory=str(folder),
    )

    class Operator(torch.autograd.Function):
        @staticmethod
        def forward(ctx, features, rois, size, scale):
            ctx.kept = rois, features.shape, size, scale
            out, none = (
                features.new_zeros(len(rois), features.shape[1], *size),
                features.new_zeros(0),
            )
            module.forward(features, rois, out, none, none, *size, scale, 0, 1, True)
            return out

        @staticmethod
        def backward(ctx, grad):
            rois, shape, size, scale = ctx.kept
            out, none = grad.new_zeros(shape), grad.new_zeros(0)
            module.backward(grad.contiguous(), rois, none, none, out, *size, scale, 0, 1, True)
            return out, None, None, None

    return lambda f, r, size, scale: Operator.apply(f, r, (size, size), scale)


def installed_operator() -> Callable[..., Tensor] | None:
    """Mmcv's or torchvision's operator, where there is one."""
    for name in ('mmcv', 'torchvision'):
        try:
            roi_align(torch.zeros(1, 1, 2, 2), torch.zeros(1, 5), 1, backend=name)
        except MissingDependencyError:
            continue
        return lambda f, r, size, scale, name=name: roi_align(f, r, size, scale, backend=name)
    return None


def scene(shape, number: int, stride: int, least: float, most: float) -> tuple[Tensor, Tensor]:
    """A map and regions whose sides are spread evenly by logarithm, clipped to the image."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(*shape, generator=generator, requires_grad=True)
    limit = torch.tensor([shape[3], shape[2]]) * stride
    center = torch.rand(number, 2, generator=generator) * limit
    sides = least * (most / least) ** torch.rand(number, 2, generator=generator)
    image = torch.randint(0, shape[0], (number, 1), generator=generator).float()
    low, high = (center - sides / 2).clamp(min=0), torch.minimum(center + sides / 2, limit)
    return features, torch.cat((image, low, high), dim=1)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--mmcv-source', type=Path, help='folder of an unpacked mmcv source')
    names = tuple(case[0] for case in CASES)
    parser.add_argument('--cases', nargs='+', choices=names, default=names, help='default: all')
    parser.add_argument('--threads', type=positive_int, default=1)
    parser.add_argument('--repeat', type=positive_int, default=3)
    args = parser.parse_args()
    if args.mmcv_source and not (args.mmcv_source / 'mmcv' / 'ops' / 'csrc').is_dir():
        parser.error(f'--mmcv-source: no mmcv/ops/csrc in {str(args.mmcv_source)!r}')
    torch.set_num_threads(args.threads)
    operator = built_operator(args.mmcv_source) if args.mmcv_source else installed_operator()
    device = torch.device('cpu')
    print(f'torch {torch.__version__}, {args.threads} thread(s), 7 x 7 bins, sampling ratio 0')
    print('| regions | forward ms | backward ms | operator ms | ours / operator | peak / output |')
    print('|---|---|---|---|---|---|')
    for name, shape, number, stride, least, most in CASES:
        if name not in args.cases:
            continue
        features, rois = scene(shape, number, stride, least, most)

        def ours(f=features, r=rois, s=stride) -> Tensor:
            return roi_align(f, r, 7, 1 / s, backend='torch')

        out = ours()
        weight = torch.randn_like(out)

        def back(out=out, f=features, w=weight) -> tuple[Tensor, ...]:
            return torch.autograd.grad(out, f, w, retain_graph=True)

        forward, backward = (best_ms(call, device, args.repeat) for call in (ours, back))
        theirs, ratio = '-', '-'
        if operator is not None:
            peer = operator(features, rois, 7, 1 / stride)
            torch.testing.assert_close(peer, out, rtol=1e-4, atol=1e-4)

            def peer_back(out=peer, f=features, w=weight) -> tuple[Tensor, ...]:
                return torch.autograd.grad(out, f, w, retain_graph=True)

            def peer_forward(f=features, r=rois, s=stride) -> Tensor:
                return operator(f, r, 7, 1 / s)

            both = [best_ms(call, device, args.repeat) for call in (peer_forward, peer_back)]
            theirs = f'{both[0]:.0f} + {both[1]:.0f}'
            ratio = f'{(forward + backward) / sum(both):.2f}'
        share = peak_mb(ours, device) / (out.numel() * 4e-6)
        print(
            f'| {name}: {number} of {shape[1]} channels | {forward:.0f} | {backward:.0f} '
            f'| {theirs} | {ratio} | {share:.2f} |',
            flush=True,
        )


if __name__ == '__main__':
    main()
