"""``tools/export.py``: a trained detector as an ONNX file, compared with PyTorch."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, ExportError, RegistryLossesError
from .cli import add_cfg_options, add_trust, positive_int, run_command

if TYPE_CHECKING:
    from torch import Tensor

    from .detector import Detector


def export_parser() -> argparse.ArgumentParser:
    """The arguments of ``tools/export.py``."""
    parser = argparse.ArgumentParser(
        description='Write a single-stage detector as ONNX, and compare it with PyTorch.'
    )
    parser.add_argument('config', help='config file, or registry_losses::NAME for one of ours')
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument('--out', default='model.onnx', metavar='FILE', help='default: model.onnx')
    parser.add_argument(
        '--image-size',
        nargs=2,
        type=positive_int,
        metavar=('W', 'H'),
        help="of the input; default: what the test pipeline resizes to, for the network's strides",
    )
    parser.add_argument(
        '--no-nms',
        action='store_true',
        help='boxes and scores of every prior, for a runtime that suppresses itself',
    )
    parser.add_argument('--opset', type=positive_int, default=17, help='default: 17')
    parser.add_argument(
        '--images',
        nargs='+',
        metavar='IMAGE',
        help='files or folders to compare on (the first 8); default: noise',
    )
    parser.add_argument('--no-check', action='store_true', help='do not run the file')
    add_trust(parser)
    add_cfg_options(parser, 'model.test_cfg.score_thr=0.3')
    return parser


def export(args: argparse.Namespace) -> None:
    """Export and compare as the arguments say.

    Raises:
        ConfigError: If this model or this size cannot be exported.
        MissingDependencyError: If onnx or onnxruntime is not installed.
        ExportError: If the file gives other boxes than PyTorch.
    """
    from ..config import load_config
    from ..deploy import compare_outputs, export_onnx, require_exportable
    from .detector import Detector
    from .input_size import input_size

    out = Path(args.out)
    if out.suffix != '.onnx':
        raise ConfigError(f'--out {out}: expected a name that ends in .onnx')
    cfg = load_config(args.config, options=args.cfg_options)
    detector = Detector(args.config, args.checkpoint, device='cpu', options=args.cfg_options)
    model = require_exportable(detector.model)
    size = input_size(cfg, args.image_size)
    nms = not args.no_nms
    try:
        notes = _notes(detector, size, nms)
        export_onnx(model, out, image_size=size, nms=nms, opset=args.opset, notes=notes)
    except RegistryLossesError:
        raise
    except Exception as error:  # PyTorch's exporter meets an operator that ONNX lacks
        raise ExportError(f'{type(model.bbox_head).__name__} at {size}: {error}') from error
    megabytes = out.stat().st_size / 2**20
    outputs = 'boxes, scores, labels' if nms else 'boxes and scores of every prior'
    print(f'{out}: {megabytes:.1f} MB; images (batch, 3, {size[1]}, {size[0]}) to {outputs}')
    if args.no_check:
        return
    images = check_images(args.images, size, notes['pad'])
    found = compare_outputs(model, out, images, nms=nms)
    print(found)
    if not found.boxes:
        print('Nothing was detected; --images compares on images of yours.')
    if not found.agrees:
        raise ExportError(f'{out}: gives other boxes than PyTorch: {found}')


def _notes(detector: Detector, size: tuple[int, int], nms: bool) -> dict[str, Any]:
    """What whoever runs the file has to know."""
    from .._version import __version__

    preprocess: Any = detector.model.data_preprocessor
    pad = [0.0, 0.0, 0.0]
    if hasattr(preprocess, 'pad_value'):
        colour = preprocess.mean + preprocess.pad_value * preprocess.std
        pad = colour.flatten().expand(3).tolist()
        pad = pad[::-1] if preprocess.reverse_channels else pad
    return dict(
        classes=list(detector.classes),
        image_size=list(size),
        channels='as the test pipeline loads them (BGR), 0 to 255, not normalised',
        pad=[round(value, 2) for value in pad],
        outputs='detections' if nms else 'every prior',
        made_by=f'registry_losses {__version__}',
    )


def check_images(
    paths: Sequence[str] | None, size: tuple[int, int], pad: Sequence[float]
) -> Tensor:
    """``(B, 3, H, W)`` float32 images to compare on: files, or smooth noise.

    Args:
        paths: Files or folders, of which the first 8 images; None for noise.
        size: (W, H). A file is fitted into the upper left corner.
        pad: The colour beside it.
    """
    import cv2
    import numpy as np
    import torch

    from ..visualization.draw import read_rgb
    from .image_files import find_images

    if paths is None:
        coarse = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
        batch = [cv2.resize(image, size, interpolation=cv2.INTER_CUBIC) for image in coarse]
    else:
        batch = []
        for path in find_images(paths)[:8]:
            image = np.ascontiguousarray(read_rgb(str(path))[..., ::-1])
            factor = min(size[0] / image.shape[1], size[1] / image.shape[0])
            height, width = (max(1, int(side * factor + 0.5)) for side in image.shape[:2])
            canvas = np.empty((size[1], size[0], 3), np.float32)
            canvas[:] = pad
            canvas[:height, :width] = cv2.resize(image, (width, height))
            batch.append(canvas)
    return torch.from_numpy(np.stack(batch).astype(np.float32)).permute(0, 3, 1, 2).contiguous()


def export_main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``tools/export.py``."""
    run_command(export_parser(), export, argv)
