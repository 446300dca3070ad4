"""What assigners make of single images, looked at.

Shapes: B images, N priors, M gts.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ..assigners import BaseAssigner
from ..engine.weights import load_weights, without_pretrained
from ..errors import ConfigError, DataError, RegistryLossesError
from ..heads.terms.loss_inputs import Stage
from ..registry import DATASETS, MODELS, TASK_UTILS
from ..structures import Assignment, DetDataSample, GroundTruth, Priors
from ..visualization import Counts, Table, count_tables, draw_assignments, gt_table
from ..visualization.names import picture_names
from .assigner_names import build_assigners


@dataclass(frozen=True, eq=False)
class Item:
    """One image with its annotations, as a pipeline packs them."""

    name: str
    data: dict


def dataset_items(cfg: Config, wanted: Sequence[str], count: int) -> list[Item]:
    """Images of the config's validation set.

    Args:
        cfg: The config.
        wanted: Numbers of images in the set, or file names; none for the first ones.
        count: How many, when none is wanted by name.

    Raises:
        ConfigError: If the config has no data set to look at.
        DataError: If an image is not in the set.
    """
    loader = cfg.get('val_dataloader') or cfg.get('test_dataloader') or cfg.get('train_dataloader')
    if not loader:
        raise ConfigError('the config has no data set to look at; --synthetic draws one')
    dataset = DATASETS.build(loader['dataset'])
    if wanted:
        indices = [_index_of(dataset, name) for name in wanted]
    else:
        indices = list(range(min(count, len(dataset))))
    samples = [dataset[index] for index in indices]
    paths = [s['data_samples'].metainfo.get('img_path') for s in samples]
    names = picture_names([path or str(index) for path, index in zip(paths, indices)])
    return [Item(Path(name).stem, sample) for name, sample in zip(names, samples)]


def _index_of(dataset: Any, name: str) -> int:
    if name.isdigit():
        if int(name) < len(dataset):
            return int(name)
        raise DataError(f'--images {name}: the data set has {len(dataset)} images')
    for index in range(len(dataset)):
        path = Path(dataset.get_data_info(index).get('img_path', ''))
        if path.name == Path(name).name or path.stem == name:
            return index
    raise DataError(f'--images {name}: no image of that name in the data set')


def synthetic_items(count: int, size: tuple[int, int], num_classes: int, seed: int) -> list[Item]:
    """Drawn rectangles of all sizes, for configs whose data is not at hand."""
    items = []
    for i in range(count):
        rng = np.random.default_rng((seed, i))
        number = int(rng.integers(3, 9))
        image = rng.normal(110, 12, (*size, 3))
        longest = max(size)
        side = longest * np.exp(rng.uniform(np.log(0.03), np.log(0.6), (number, 1)))
        side = side * np.exp(rng.uniform(-0.5, 0.5, (number, 2)))
        center = rng.uniform(0, 1, (number, 2)) * [size[1], size[0]]
        boxes = np.concatenate((center - side / 2, center + side / 2), axis=1)
        boxes = np.clip(boxes, 0, [size[1], size[0]] * 2)
        for x1, y1, x2, y2 in boxes[np.argsort(-side.prod(axis=1))].astype(int):
            image[y1:y2, x1:x2] = rng.uniform(60, 240, 3)
        sample = DetDataSample(metainfo=dict(img_shape=size, ori_shape=size, img_id=i))
        sample.gt_instances = InstanceData(
            bboxes=torch.from_numpy(boxes).float(),
            labels=torch.from_numpy(rng.integers(0, num_classes, number)),
        )
        pixels = torch.from_numpy(np.clip(image, 0, 255).astype(np.uint8))
        data = dict(inputs=pixels.permute(2, 0, 1).contiguous(), data_samples=sample)
        items.append(Item(f'synthetic_{i}', data))
    return items


@dataclass(frozen=True, eq=False)
class Look:
    """One image and one head: what every assigner makes of it, or why it cannot.

    Args:
        name: Of the image.
        stage: Of the head; '' for the only one.
        image: RGB.
        priors: Those of the head.
        gt: The ground truth.
        found: Name of the assigner to its assignment, or to the reason why there is none.
    """

    name: str
    stage: str
    image: np.ndarray
    priors: Priors
    gt: GroundTruth
    found: dict[str, Assignment | str]


def build_model(cfg: Config, checkpoint: str | None, seed: int) -> tuple[Any, dict]:
    """The config's detector as in training, and the checkpoint's ``meta``.

    Batch norm keeps its statistics: those of one image would be no good.
    """
    torch.manual_seed(seed)
    # How each layer is initialised is of no interest here.
    logging.getLogger('mmengine').setLevel(logging.WARNING)
    MMLogger.get_current_instance().setLevel(logging.WARNING)
    model: Any = MODELS.build(without_pretrained(cfg.model))
    model.init_weights()
    meta = load_weights(model, checkpoint) if checkpoint else {}
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    return model, meta


def main_head(model: nn.Module) -> Any:
    """The head that tells the classes apart.

    Raises:
        ConfigError: If the model has none that assigns priors.
    """
    for name in ('bbox_head', 'roi_head'):
        head = getattr(model, name, None)
        if head is not None and hasattr(head, 'assigner'):
            return head
    raise ConfigError(f'{type(model).__name__} has no head with priors')


def stage_assigners(model: Any, specs: Sequence[str]) -> dict[str, dict[str, BaseAssigner]]:
    """The assigners to try on each head of a detector, by the head's stage.

    Args:
        model: The detector.
        specs: As on the command line.
    """
    main = main_head(model)
    rpn = getattr(model, 'rpn_head', None)
    heads = {'': main} if rpn is None else {'rpn': rpn, '': main}
    return {stage: build_assigners(specs, head.assigner) for stage, head in heads.items()}


@torch.no_grad()
def look(
    model: Any,
    item: Item,
    assigners: Mapping[str, Mapping[str, BaseAssigner]],
    *,
    sampled: bool = False,
) -> list[Look]:
    """Assign one image by every assigner, on every head.

    Args:
        model: The detector; in training mode, so that priors are those of training.
        item: The image.
        assigners: Stage to name to assigner, see :func:`stage_assigners`.
        sampled: Let the config's samplers choose afterwards.

    Raises:
        ConfigError: If no assigner fits any head.
    """
    main_head(model)  # says it where there is none
    pixels = item.data['inputs']
    # Without the random augmentation of batches, which belongs to training.
    batch = model.data_preprocessor(
        dict(inputs=[pixels], data_samples=[item.data['data_samples']]), training=False
    )
    samples = batch['data_samples']
    image = _picture(model, pixels, batch['inputs'].shape[-2:])
    feats = model.extract_feat(batch['inputs'])
    stages = model.loss_stages(feats, samples, whole=True)
    several, looks = len(stages) > 1, []
    for stage in stages:
        found = _try(stage, assigners[stage.name], sampled)
        name = (stage.name or 'roi') if several else ''
        priors, gt = stage.inputs.priors, stage.inputs.gt
        looks.append(Look(item.name, name, image, priors, gt, found))
    reasons = [value for looked in looks for value in looked.found.values()]
    if all(isinstance(reason, str) for reason in reasons):
        raise ConfigError('no assigner fits: ' + '; '.join(map(str, reasons)))
    return looks


def _try(
    stage: Stage, assigners: Mapping[str, BaseAssigner], sampled: bool
) -> dict[str, Assignment | str]:
    """What each assigner pairs on one head, or why it cannot."""
    head = stage.head
    kept = head.assigner, head.sampler
    found: dict[str, Assignment | str] = {}
    try:
        if not sampled:
            head.sampler = TASK_UTILS.build(dict(type='PseudoSampler'))
        for name, assigner in assigners.items():
            head.assigner = assigner
            try:
                found[name] = head.assign(stage.inputs)
            except RegistryLossesError as error:
                found[name] = str(error)
    finally:
        head.assigner, head.sampler = kept
    return found


def _picture(model: Any, pixels: Tensor, size: Sequence[int]) -> np.ndarray:
    """The image as the model sees it, padding included, RGB."""
    image = pixels.permute(1, 2, 0).cpu().numpy()
    image = np.clip(image, 0, 255).astype(np.uint8)
    if getattr(model.data_preprocessor, '_channel_conversion', False):
        image = image[..., ::-1]
    below, right = size[0] - image.shape[0], size[1] - image.shape[1]
    return np.ascontiguousarray(np.pad(image, ((0, below), (0, right), (0, 0))))


def pages(looked: Look, columns: int, panel: int) -> Iterator[np.ndarray]:
    """Pictures of at most so many assigners side by side."""
    names = list(looked.found)
    number = -(-len(names) // columns)
    own = -(-len(names) // max(number, 1))  # about equally many on each page
    for start in range(0, len(names), max(own, 1)):
        some = {name: looked.found[name] for name in names[start : start + own]}
        stage = f', {looked.stage}' if looked.stage else ''
        title = f'{looked.name}{stage}: {int(looked.gt.valid.sum())} gts'
        yield draw_assignments(
            looked.image, looked.priors, looked.gt, some, panel=panel, title=title
        )


def tables_of(looks: Sequence[Look], classes: Sequence[str]) -> list[Table]:
    """The tables of some images together."""
    counts: dict[str, Counts] = {}
    for looked in looks:
        for name, found in looked.found.items():
            if not isinstance(found, str):
                own = Counts.of(found, looked.priors, looked.gt)
                counts[name] = counts[name].plus(own) if name in counts else own
    priors = looks[0].priors
    strides = [f'stride {level.stride[0]:g}' for level in priors.levels] or ['priors']

    def name_of(label: int) -> str:
        return classes[label] if 0 <= label < len(classes) else str(label)

    labels = [[name_of(label) for label in looked.gt.labels[0].tolist()] for looked in looks]
    return [
        *count_tables(counts, strides),
        gt_table(counts, [looked.name for looked in looks], labels),
    ]
