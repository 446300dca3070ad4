"""``tools/infer.py``: detections of images and videos, as pictures and as COCO results."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, DataError
from .cli import add_cfg_options, add_trust, positive_int, run_command, share

if TYPE_CHECKING:
    from ..structures import DetDataSample
    from .detector import Detector


def infer_parser() -> argparse.ArgumentParser:
    """The arguments of ``tools/infer.py``."""
    parser = argparse.ArgumentParser(description='Detect objects in images and videos.')
    parser.add_argument('config', help='config file, or registry_losses::NAME for one of ours')
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument(
        'images',
        nargs='+',
        help="image or video files, folders, or quoted patterns such as 'photos/**/*.jpg'",
    )
    parser.add_argument(
        '--out',
        required=True,
        metavar='DIR',
        help='results.json, images.json, pictures/ and videos/ go here',
    )
    parser.add_argument(
        '--score-thr',
        type=share,
        default=0.3,
        help='least score of a drawn box (default 0.3); results.json holds all that the'
        " config's test_cfg lets through",
    )
    parser.add_argument('--batch-size', type=positive_int, default=1, help='images at once')
    parser.add_argument(
        '--every', type=positive_int, default=1, metavar='N', help='each Nth frame of a video'
    )
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
    from .detector import Detector, category_ids
    from .image_files import find_images, image_ids, is_video, picture_names
    from .video_files import VideoReader

    files = find_images(args.images, videos=True)
    paths, videos = [p for p in files if not is_video(p)], [p for p in files if is_video(p)]
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
    artist = DetVisualizer()
    artist.dataset_meta = dict(classes=detector.classes, palette=detector.palette)
    found = _Found(detector, artist, out, args)
    places = list(_batches(len(paths), args.batch_size))
    if paths:
        numbers, names = image_ids(paths), picture_names(paths)
        for part in track(places, description='images', console=console):
            for place, sample in _detect(detector, paths, part, found.failed):
                found.image(sample, paths[place], numbers[place], names[place])
    for path, name in zip(videos, picture_names(videos)):
        try:
            reader = VideoReader(path, every=args.every)
            frames = track(reader, description=path.name, console=console, total=len(reader))
            found.video(frames, path, out / 'videos' / f'{Path(name).stem}.mp4', reader.rate)
        except DataError as error:
            found.failed.append(str(error))
    ids = category_ids(detector.classes)
    categories = [dict(id=i, name=name) for i, name in zip(ids, detector.classes)]
    _write(out / 'results.json', found.rows)
    _write(out / 'images.json', dict(images=found.images, categories=categories))
    frames_too = ' and frames' if videos else ''
    console.print(
        f'{len(found.images)} images{frames_too}, {len(found.rows)} detections: '
        f'{out / "results.json"}'
    )
    if not args.no_pictures:
        for folder, any_ in (('pictures', paths), ('videos', videos)):
            if any_ and (out / folder).is_dir():
                console.print(f'{folder.capitalize()}: {out / folder}')
    if found.failed:
        failed = '\n'.join(found.failed)
        kind = 'files' if videos else 'images'
        raise DataError(f'{len(found.failed)} of {len(files)} {kind} failed:\n{failed}')


class _Found:
    """What was found so far, drawn as it comes."""

    def __init__(self, detector: Detector, artist: Any, out: Path, args: argparse.Namespace):
        from .detector import category_ids

        self.detector, self.artist, self.out, self.args = detector, artist, out, args
        self.ids = category_ids(detector.classes)
        self.rows: list[dict] = []
        self.images: list[dict] = []
        self.failed: list[str] = []
        self._last = 0  # the highest number of an image

    def image(self, sample: DetDataSample, path: Path, number: int, picture: str) -> None:
        """Note the detections of an image file, and draw them."""
        from ..visualization.draw import image_of

        self._note(sample, path, number)
        if not self.args.no_pictures:
            self._draw(sample, image_of(sample), str(self.out / 'pictures' / picture))

    def video(self, frames: Iterable[tuple[int, Any]], path: Path, out: Path, rate: float) -> None:
        """Note the detections of a video's frames, and draw them into a video."""
        from .video_files import VideoWriter

        with VideoWriter(out, max(rate / self.args.every, 1.0)) as writer:
            for batch in _parts(frames, self.args.batch_size):
                samples = self.detector([frame for _, frame in batch])
                for (index, frame), sample in zip(batch, samples):
                    self._note(sample, path, self._last + 1, frame=index)
                    if not self.args.no_pictures:
                        self._draw(sample, frame[..., ::-1], None)
                        writer.add(self.artist.get_image()[..., ::-1])

    def _note(self, sample: DetDataSample, path: Path, number: int, **more: int) -> None:
        from .detector import result_rows

        height, width = sample.ori_shape[:2]
        self._last = max(self._last, number)
        self.images.append(dict(id=number, file_name=str(path), width=width, height=height, **more))
        self.rows += result_rows(sample, number, str(path), self.ids)

    def _draw(self, sample: DetDataSample, pixels: Any, out_file: str | None) -> None:
        self.artist.add_datasample(
            'detections',
            pixels,
            sample,
            draw_gt=False,
            out_file=out_file,
            pred_score_thr=self.args.score_thr,
        )


def _parts(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of ``size`` items; the last may be shorter."""
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part


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
