"""``tools/infer.py``: detections of image files, as pictures and as COCO results."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, DataError
from .cli import add_cfg_options, add_trust, positive_int, run_command

if TYPE_CHECKING:
    from ..structures import DetDataSample
    from .detector import Detector


def infer_parser() -> argparse.ArgumentParser:
    """The arguments of ``tools/infer.py``."""
    parser = argparse.ArgumentParser(description='Detect objects in images.')
    parser.add_argument('config', help='config file, or registry_losses::NAME for one of ours')
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument(
        'images',
        nargs='+',
        help="image files, folders, or quoted patterns such as 'photos/**/*.jpg'",
    )
    parser.add_argument(
        '--out',
        required=True,
        metavar='DIR',
        help='results.json, images.json and pictures/ go here',
    )
    parser.add_argument(
        '--score-thr',
        type=float,
        default=0.3,
        help='least score of a drawn box (default 0.3); results.json holds all that the'
        " config's test_cfg lets through",
    )
    parser.add_argument('--batch-size', type=positive_int, default=1, help='images at once')
    parser.add_argument('--device', help='cpu, cuda, cuda:1 ...; default: a GPU if there is one')
    parser.add_argument('--no-pictures', action='store_true', help='write results.json alone')
    add_trust(parser)
    add_cfg_options(parser, 'model.test_cfg.nms.iou_threshold=0.6')
    return parser


def infer(args: argparse.Namespace) -> None:
    """Detect, draw and write as the arguments say.

    Raises:
        DataError: After the last image, if some could not be read.
    """
    from rich.console import Console
    from rich.progress import track

    from ..engine.threads import choose_threads, use_threads
    from ..visualization import DetVisualizer
    from ..visualization.draw import image_of
    from .detector import Detector, category_ids, result_rows
    from .image_files import find_images, image_ids, picture_names

    paths = find_images(args.images)
    threads = choose_threads()
    use_threads(threads)
    detector = Detector(args.config, args.checkpoint, device=args.device, options=args.cfg_options)
    out = Path(args.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f'--out {out}: cannot be made a folder: {error.strerror}') from error
    console = Console()
    console.print(f'Computing with {threads}', markup=False)
    numbers, names = image_ids(paths), picture_names(paths)
    ids = category_ids(detector.classes)
    artist = DetVisualizer()
    artist.dataset_meta = dict(classes=detector.classes, palette=detector.palette)
    rows: list[dict] = []
    images: list[dict] = []
    failed: list[str] = []
    for places in track(
        list(_batches(len(paths), args.batch_size)), description='images', console=console
    ):
        for place, sample in _detect(detector, paths, places, failed):
            height, width = sample.ori_shape[:2]
            name = str(paths[place])
            images.append(dict(id=numbers[place], file_name=name, width=width, height=height))
            rows += result_rows(sample, numbers[place], name, ids)
            if not args.no_pictures:
                artist.add_datasample(
                    name,
                    image_of(sample),
                    sample,
                    draw_gt=False,
                    out_file=str(out / 'pictures' / names[place]),
                    pred_score_thr=args.score_thr,
                )
    categories = [dict(id=i, name=name) for i, name in zip(ids, detector.classes)]
    _write(out / 'results.json', rows)
    _write(out / 'images.json', dict(images=images, categories=categories))
    console.print(f'{len(images)} images, {len(rows)} detections: {out / "results.json"}')
    if not args.no_pictures and images:
        console.print(f'Pictures: {out / "pictures"}')
    if failed:
        raise DataError(f'{len(failed)} of {len(paths)} images failed:\n' + '\n'.join(failed))


def _batches(count: int, size: int) -> Iterator[range]:
    for start in range(0, count, size):
        yield range(start, min(start + size, count))


def _detect(
    detector: Detector, paths: Sequence[Path], places: range, failed: list[str]
) -> list[tuple[int, DetDataSample]]:
    """The samples of a batch; where an image spoils it, one by one without that image."""
    try:
        return list(zip(places, detector([paths[i] for i in places])))
    except DataError as error:
        if len(places) == 1:
            failed.append(str(error))
            return []
    return [pair for i in places for pair in _detect(detector, paths, range(i, i + 1), failed)]


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content), encoding='utf-8')


def infer_main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``tools/infer.py``."""
    run_command(infer_parser(), infer, argv)
