"""What is fed with damaged input, each a function of a generator and a folder.

Each returns what was done to its input, having run; or raises.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from xml.etree import ElementTree

import cv2
import numpy as np
import torch

from registry_losses.commands.check_config import check_config_main
from registry_losses.commands.compare_runs import compare_runs_main
from registry_losses.commands.plot_losses import plot_losses_main
from registry_losses.commands.test import test_main as evaluate_main
from registry_losses.commands.train import train_config, train_parser
from registry_losses.config import configs_folder, load_config
from registry_losses.datasets import CocoDataset, VOCDataset
from registry_losses.engine.checkpoint import load_checkpoint_file
from registry_losses.evaluation import CocoMetric
from registry_losses.registry import MODELS
from registry_losses.testing.pairings import head_config

from .mutations import mutate_bytes, mutate_tree, mutate_words

Target = Callable[[Random, Path], str]


def _image(rng: Random, size: int = 32) -> np.ndarray:
    return np.random.default_rng(rng.randrange(2**32)).integers(0, 255, (size, size, 3), np.uint8)


# Annotations -----------------------------------------------------------------------------


def _coco() -> dict:
    images = [dict(id=i, file_name=f'{i}.png', width=32, height=32) for i in range(3)]
    annotations = [
        dict(
            id=k + 1, image_id=k % 3, category_id=1 + k % 2, bbox=[2 + k, 3, 8 + k, 9],
            area=72.0 + 9 * k, iscrowd=int(k == 4), weight=1.0,
        )
        for k in range(5)
    ]  # fmt: skip
    categories = [dict(id=1, name='cat'), dict(id=2, name='dog')]
    return dict(images=images, annotations=annotations, categories=categories)


def coco_json(rng: Random, folder: Path) -> str:
    """A COCO file, read by the data set and by the metric."""
    path = folder / 'coco.json'
    if rng.random() < 0.3:
        data, done = mutate_bytes(json.dumps(_coco()).encode(), rng)
        path.write_bytes(data)
    else:
        tree, done = mutate_tree(_coco(), rng, times=rng.choice((1, 1, 1, 3)))
        path.write_text(json.dumps(tree))
    classes = dict(classes=('cat', 'dog'))
    with told(done):
        dataset = CocoDataset(ann_file=str(path), metainfo=classes, pipeline=[])
        infos = [dataset.get_data_info(i) for i in range(len(dataset))]
        metric = CocoMetric(ann_file=str(path))
        metric.dataset_meta = dataset.metainfo
        for info in infos:
            boxes = torch.tensor([i['bbox'] for i in info['instances']]).reshape(-1, 4)
            labels = torch.tensor([i['bbox_label'] for i in info['instances']]).long()
            pred = dict(bboxes=boxes, labels=labels, scores=torch.ones(len(labels)))
            sample = dict(
                img_id=info['img_id'],
                pred_instances=pred,
                ori_shape=(info['height'], info['width']),
            )
            metric.process(None, [sample])
        metric.evaluate(len(infos))
    return done


def voc_xml(rng: Random, folder: Path) -> str:
    """A VOC annotation, read by the data set."""
    root = folder / 'VOC2007'
    for name in ('Annotations', 'JPEGImages', 'ImageSets/Main'):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / 'ImageSets' / 'Main' / 'train.txt').write_text('a\n')
    image = root / 'JPEGImages' / 'a.jpg'
    if not image.exists():
        cv2.imwrite(str(image), _image(rng))
    text = (
        '<annotation><filename>a.jpg</filename><size><width>32</width><height>32</height>'
        '<depth>3</depth></size>'
        + ''.join(
            f'<object><name>{name}</name><difficult>{i}</difficult><bndbox><xmin>{3 + i}</xmin>'
            f'<ymin>4</ymin><xmax>{15 + i}</xmax><ymax>20</ymax></bndbox></object>'
            for i, name in enumerate(('cat', 'dog'))
        )
        + '</annotation>'
    )
    if rng.random() < 0.3:
        data, done = mutate_bytes(text.encode(), rng)
    else:
        tree = ElementTree.fromstring(text)
        nodes = list(tree.iter())
        node = rng.choice(nodes)
        what = rng.choice(('text', 'text', 'tag', 'drop'))
        done = f'{node.tag}: {what}'
        if what == 'text':
            node.text = rng.choice(('', ' ', 'x', '-5', '1e9', 'nan', '7.5', '0', ' cat ', 'inf'))
            done += f' {node.text!r}'
        elif what == 'tag':
            node.tag += 'x'
        else:
            for parent in nodes:
                if node in list(parent):
                    parent.remove(node)
        data = ElementTree.tostring(tree)
    (root / 'Annotations' / 'a.xml').write_bytes(data)
    with told(done):
        dataset = VOCDataset(
            ann_file='VOC2007/ImageSets/Main/train.txt', data_root=str(folder), pipeline=[],
            data_prefix=dict(sub_data_root='VOC2007/'), metainfo=dict(classes=('cat', 'dog')),
        )  # fmt: skip
        for i in range(len(dataset)):
            dataset.get_data_info(i)
    return done


def image_file(rng: Random, folder: Path) -> str:
    """An image file, read through a data set with a training pipeline."""
    kind = rng.choice(('.png', '.jpg', '.bmp'))
    _, data = cv2.imencode(kind, _image(rng))
    data, done = mutate_bytes(data.tobytes(), rng)
    content = _coco()
    content['images'] = [dict(content['images'][0], file_name=f'0{kind}')]
    content['annotations'] = content['annotations'][:1]
    (folder / 'one.json').write_text(json.dumps(content))
    (folder / f'0{kind}').write_bytes(data)
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
    pipeline += [dict(type='RandomFlip', prob=0.5), dict(type='PackDetInputs')]
    with told(done):
        dataset = CocoDataset(
            ann_file=str(folder / 'one.json'), data_prefix=dict(img=str(folder)),
            metainfo=dict(classes=('cat', 'dog')), pipeline=pipeline,
        )  # fmt: skip
        dataset[0]
    return done


# Configs, command lines, checkpoints ----------------------------------------------------


def config_tree(rng: Random, folder: Path) -> str:
    """A config with something replaced, written to a file, checked, its model built."""
    model, done = mutate_tree(head_config(rng.choice(('retinanet', 'fcos', 'yolov3'))), rng)
    path = folder / 'config.py'
    path.write_text(f'nan, inf = float("nan"), float("inf")\nmodel = {model!r}\ndel nan, inf\n')
    with told(done):
        cfg = load_config(path)
        MODELS.build(cfg.model.to_dict())
    return done


def config_text(rng: Random, folder: Path) -> str:
    """The text of a config file, damaged."""
    source = configs_folder() / '_base_' / 'models' / f'{rng.choice(("ssd", "atss"))}_tiny.py'
    data, done = mutate_bytes(source.read_bytes(), rng)
    path = folder / 'text.py'
    path.write_bytes(data)
    with told(done):
        load_config(path)
    return done


def command_line(rng: Random, folder: Path) -> str:
    """The words of a command line; what would train or draw for long gets no further."""
    config = str(configs_folder() / 'retinanet' / 'retinanet_tiny_digits.py')
    options = ['--cfg-options', 'model.bbox_head.loss_cls.gamma=1', 'train_cfg.max_iters=3']

    def train(words):
        train_config(train_parser().parse_args(words))

    tools = {
        'train': (train, [config, '--work-dir', str(folder / 'w'), '--resume', '--amp', *options]),
        'test': (evaluate_main, [config, str(folder / 'none.pth'), '--out', 'a.pkl', *options]),
        'check_config': (check_config_main, [config, '--size', '64', '64', *options]),
        'compare_runs': (compare_runs_main, [str(folder), '--metric', 'coco/bbox_mAP']),
        'plot_losses': (
            plot_losses_main,
            ['FocalLoss:gamma=0,2', 'L1Loss', '--out', str(folder / 'x.png'), '--max-loss', '3'],
        ),
    }
    name = rng.choice(list(tools))
    run, words = tools[name]
    words, done = mutate_words(words, rng)
    with told(f'{name} {done}'), contextlib.chdir(folder):
        run(words)
    return f'{name} {done}'


@cache
def _checkpoint() -> bytes:
    model = MODELS.build(head_config('retinanet'))
    stream = io.BytesIO()
    torch.save(dict(state_dict=model.state_dict(), meta=dict(iter=3, epoch=0)), stream)
    return stream.getvalue()


def checkpoint(rng: Random, folder: Path) -> str:
    """A checkpoint's bytes."""
    data, done = mutate_bytes(_checkpoint(), rng)
    path = folder / 'iter_3.pth'
    path.write_bytes(data)
    with told(done):
        load_checkpoint_file(path)
    return done


@contextlib.contextmanager
def told(done: str):
    """Note on an exception what was done to the input."""
    try:
        yield
    except (Exception, SystemExit) as error:
        error.args_of_fuzz = done  # type: ignore[attr-defined]
        raise


TARGETS: dict[str, Target] = {
    target.__name__: target
    for target in (
        coco_json, voc_xml, image_file, config_tree, config_text, command_line, checkpoint
    )
}  # fmt: skip
