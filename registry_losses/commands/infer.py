"""``tools/infer.py``: detections of image files, as pictures and as COCO results.

Shapes: n detections of an image.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from ..config import ConfigOption, load_config
from ..datasets.metainfo import COCO_CLASSES, make_palette
from ..engine.checkpoint import load_checkpoint_file
from ..errors import CheckpointError, ConfigError, DataError
from ..evaluation.samples import predictions_of
from ..registry import DATASETS, MODELS, TRANSFORMS
from ..structures import DetDataSample
from ..visualization import DetVisualizer
from ..visualization.draw import read_rgb
from .cli import positive_int, run_command
from .image_files import find_images, image_ids, picture_names

# COCO numbers its 80 categories up to 90; these numbers are not used.
_COCO_GAPS = frozenset({12, 26, 29, 30, 45, 66, 68, 69, 71, 83})


class Detector:
    """A trained detector for image files.

    Args:
        config: A path, a ``registry_losses::`` name, or a config.
        checkpoint: Weights: a local file, or a URL.
        device: Where to run; None takes a GPU where there is one.
        options: Dotted keys that override the config's.

    Raises:
        ConfigError: If the config is wrong, or has no test pipeline.
        CheckpointError: If the weights are not this model's.
    """

    def __init__(
        self,
        config: str | os.PathLike | Config,
        checkpoint: str | os.PathLike,
        *,
        device: str | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        cfg = load_config(config, options=options)
        init_default_scope(cfg.default_scope)
        self.device = find_device(device)
        self.model = MODELS.build(_without_init(cfg.model))
        meta = load_weights(self.model, checkpoint)
        self.model.to(self.device).eval()
        self.classes = class_names(cfg, meta)
        saved = (meta.get('dataset_meta') or {}).get('palette') or ()
        # The colours of the training where it had one a class, so that pictures look alike.
        self.palette = (
            [tuple(colour) for colour in saved]
            if len(saved) == len(self.classes)
            else make_palette(max(80, len(self.classes)))
        )
        self.pipeline = [TRANSFORMS.build(node) for node in inference_pipeline(cfg)]

    def __call__(self, paths: Sequence[str | os.PathLike]) -> list[DetDataSample]:
        """The detections of a batch of images, in pixels of the files.

        Raises:
            DataError: If an image cannot be read; the message names it.
        """
        batch = [self._load(str(path), i) for i, path in enumerate(paths)]
        data = {key: [item[key] for item in batch] for key in ('inputs', 'data_samples')}
        with torch.no_grad():
            return self.model.test_step(data)

    def _load(self, path: str, index: int) -> dict:
        results = dict(img_path=path, sample_idx=index, instances=[])
        for transform in self.pipeline:
            changed = transform(results)
            if changed is None:
                raise DataError(f'{path}: {type(transform).__name__} could not use this image')
            results = changed
            # Only now: the message of a file that cannot be read names the file alone.
            results.setdefault('img_id', index)
        return results


def find_device(name: str | None) -> torch.device:
    """The device of that name; None takes a GPU where there is one.

    Raises:
        ConfigError: If there is no such device here.
    """
    if name is None:
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        raise ConfigError(
            f'--device {name}: no such device here; there is cpu'
            + ''.join(f', cuda:{i}' for i in range(gpus))
        ) from error
    return device


def load_weights(model: nn.Module, checkpoint: str | os.PathLike) -> dict:
    """Load a checkpoint into a model, all of it or nothing.

    Returns:
        The checkpoint's ``meta``.

    Raises:
        CheckpointError: Naming entries that are missing, left over or of another shape.
    """
    if '://' in str(checkpoint):
        loaded = torch.hub.load_state_dict_from_url(
            str(checkpoint), map_location='cpu', weights_only=True
        )
    else:
        loaded = load_checkpoint_file(checkpoint)
    state: Mapping[str, Tensor] = loaded.get('state_dict', loaded)
    state = {name.removeprefix('module.'): value for name, value in state.items()}
    own = model.state_dict()
    problems = {
        'missing': [name for name in own if name not in state],
        'left over': [name for name in state if name not in own],
        'of another shape': [
            f'{name} {tuple(state[name].shape)} for {tuple(own[name].shape)}'
            for name in own
            if name in state and state[name].shape != own[name].shape
        ],
    }
    found = [
        f'{len(names)} {kind} ({", ".join(names[:3])}{", ..." if len(names) > 3 else ""})'
        for kind, names in problems.items()
        if names
    ]
    if found:
        raise CheckpointError(
            f'{checkpoint}: not the weights of this config: entries ' + '; '.join(found)
        )
    model.load_state_dict(state)
    return dict(loaded.get('meta') or {})


def inference_pipeline(cfg: Config) -> list[dict]:
    """The config's test pipeline without annotations, and without a cache.

    Raises:
        ConfigError: If there is none.
    """
    pipeline = _dataset_node(cfg).get('pipeline')
    if not pipeline:
        raise ConfigError('test_dataloader.dataset.pipeline: inference needs a test pipeline')
    nodes = []
    for node in pipeline:
        kind = str(node['type']).rpartition('.')[2]
        if kind == 'LoadAnnotations':
            continue
        if kind == 'CachedLoadImage':
            options = {key: value for key, value in node.items() if key != 'max_mb'}
            node = dict(options, type='LoadImageFromFile')
        nodes.append(dict(node))
    return nodes


def class_names(cfg: Config, checkpoint_meta: Mapping) -> tuple[str, ...]:
    """The names of the classes: the checkpoint's, else the data set's, else numbers.

    A source with another number of classes than the head is passed over.
    """
    saved = checkpoint_meta.get('dataset_meta') or {}
    node = _dataset_node(cfg)
    kind = DATASETS.get(node['type']) if node.get('type') else None
    # OpenMMLab 2 wrote the names in lower case, OpenMMLab 1 beside the rest of the meta.
    sources = (
        saved.get('classes') or saved.get('CLASSES') or checkpoint_meta.get('CLASSES'),
        (node.get('metainfo') or {}).get('classes'),
        getattr(kind, 'METAINFO', {}).get('classes'),
    )
    count = (cfg.model.get('bbox_head') or {}).get('num_classes')
    for classes in sources:
        if classes and count in (None, len(classes)):
            return tuple(classes)
    return tuple(str(i) for i in range(count or 0))


def category_ids(classes: Sequence[str]) -> list[int]:
    """The category of each label: COCO's own numbers for its classes, else 1, 2, 3 ..."""
    if tuple(classes) == COCO_CLASSES:
        return [i for i in range(1, 91) if i not in _COCO_GAPS]
    return list(range(1, len(classes) + 1))


def result_rows(sample: DetDataSample, image: int, name: str, ids: Sequence[int]) -> list[dict]:
    """The detections of one image as rows of a COCO results file, best first.

    ``bbox`` is x, y, width, height in pixels; ``file_name`` is an addition.
    """
    found = predictions_of(sample)
    rows = zip(found['bboxes'].tolist(), found['scores'].tolist(), found['labels'].tolist())
    return [
        dict(
            image_id=image,
            category_id=ids[label],
            bbox=[round(v, 2) for v in (x1, y1, x2 - x1, y2 - y1)],
            score=round(score, 5),
            file_name=name,
        )
        for (x1, y1, x2, y2), score, label in rows
    ]


def infer(args: argparse.Namespace) -> None:
    """Detect, draw and write as the arguments say.

    Raises:
        DataError: After the last image, if some could not be read.
    """
    paths = find_images(args.images)
    detector = Detector(args.config, args.checkpoint, device=args.device, options=args.cfg_options)
    out = Path(args.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f'--out {out}: cannot be made a folder: {error.strerror}') from error
    console = Console()
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
                    read_rgb(name),
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


def _dataset_node(cfg: Config) -> Mapping:
    """The innermost data set of the test (or validation) loader."""
    loader = cfg.get('test_dataloader') or cfg.get('val_dataloader') or {}
    node = loader.get('dataset') or {}
    while 'pipeline' not in node and ('dataset' in node or 'datasets' in node):
        node = node['dataset'] if 'dataset' in node else node['datasets'][0]
    return node


def _without_init(node: Any) -> Any:
    """A model node that fetches no pretrained weights: the checkpoint holds them all."""
    if isinstance(node, Mapping):
        kept = {k: _without_init(v) for k, v in node.items()}
        init = kept.get('init_cfg')
        if isinstance(init, Mapping) and init.get('type') == 'Pretrained':
            kept['init_cfg'] = None
        return kept
    if isinstance(node, (list, tuple)):
        return type(node)(_without_init(v) for v in node)
    return node


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
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=ConfigOption,
        metavar='KEY=VALUE',
        help='override config keys, e.g. model.test_cfg.nms.iou_threshold=0.6',
    )
    return parser


def infer_main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``tools/infer.py``."""
    run_command(infer_parser(), infer, argv)
