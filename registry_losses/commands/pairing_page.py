"""``docs/pairing.md``: what pairs with what, read from the parts themselves.

``make docs`` writes the page; a test compares it with what the code says.
"""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from mmengine.config import Config

from ..config import configs_folder
from ..errors import PairingError
from ..losses.declared import declared
from ..registry import MODELS, TASK_UTILS
from ..structures import GroundTruth, Priors
from ..visualization import Table
from .assigner_names import PRESETS

KINDS = {
    'classification': 'classification',
    'objectness': 'objectness',
    'centerness': 'centreness',
    'box_encoded': 'encoded boxes',
    'box_decoded': 'decoded boxes',
    'distribution': 'distributions',
    'heatmap': 'heatmaps',
    'embedding': 'embeddings',
    'field': 'fields',
}
_OF_BOXES = (
    'retinanet',
    'ssd',
    'fcos',
    'atss',
    'gfl',
    'paa',
    'tood',
    'rtmdet',
    'ppyoloe',
    'centernet',
)
SYSTEMS = (*_OF_BOXES, 'yolov1', 'yolov3', 'yolov4', 'yolov5', 'yolox', 'ae', 'openpose')

_INTRO = """# What pairs with what

Made by `make docs` from the parts themselves.

**Every head trains with every assigner and every sampler below, with every loss that serves
its terms.** A swap is one line of a config, or one option:

```bash
python tools/train.py configs/ssd/ssd_tiny_digits.py \\
    --cfg-options "model.train_cfg.assigner=dict(type='SimOTAAssigner')"
python tools/train.py configs/fcos/fcos_tiny_digits.py \\
    --cfg-options "model.bbox_head.loss_cls=dict(type='FocalLoss', activation='softmax')"
python tools/train.py configs/yolo/yolov5_tiny_digits.py \\
    --cfg-options "model.bbox_head.loss_bbox=dict(type='SmoothL1Loss')" \\
                  "model.train_cfg.sampler=dict(type='HardNegativeSampler')"
```

What a config pairs, `tools/check_config.py` shows before any training, in seconds and without
data: it builds the model, runs one forward and backward pass on synthetic images (or with
`--data` on the first batch of the training data), and prints the parts, the loss terms with
their values, the priors of each level, the positives by the size of the gt with the share that
the coder cannot reach, and the gradient norms. The exit status is 1 where the config is
refused or something is not finite.

```bash
python tools/check_config.py configs/yolo/yolov5_tiny_digits.py \\
    --cfg-options "model.train_cfg.assigner=dict(type='SimOTAAssigner')"
```

Among what it prints there:

```text
part             type                 settings                        asks the head for
assigner         SimOTAAssigner       defaults                        predictions
sampler          PseudoSampler        defaults                        -

term       loss              kind            rows       normaliser  weight
loss_cls   CrossEntropyLoss  classification  positives  level_mean  x 0.5, target one, x images
loss_obj   CrossEntropyLoss  objectness      all        level_mean  x 1, target ciou, x images, ...
loss_bbox  YOLOIoULoss       box_decoded     positives  level_mean  x 0.5, x images

sqrt of area   gts   positives a gt   gts without   beyond the coder
16 to 32       4     5.2              0             10 %
64 to 128      3     1.7              0             60 %

note: 12 % of the positives lie beyond what YOLOV5BBoxCoder can reach from their prior: ...
```

"""

_RULES = """## Rules

- A softmax loss gives a branch one more output, the background; a sigmoid loss does not.
- A box loss is compared with encoded or decoded boxes, as its kind says. A loss that serves
  neither is refused.
- A prior may belong to several gts (YOLOv5). Losses of one label a row, softmax losses among
  them, then see the pair of the best quality, of equal ones the smaller gt.
- A sampler's choice by loss (hard negatives, OHEM) is by the head's term over all priors: its
  classification or heatmap, else its objectness. Of a loss that is no sum over rows (Dice) the
  norm of a row's gradient stands for its loss.
- A prior centred outside its gt, which swapped assigners may choose, learns centreness 0, and
  its box with weight 1.
- What lies beyond the reach of a coder whose output is confined (a sigmoid) is learnt up to
  its bounds; `tools/check_config.py` tells the share.
- Each loss is tried on a few rows when the head is built: one set up for another number of
  classes, or for probabilities where the head gives logits, is refused there.

"""


def describe_pairings() -> str:
    """The page."""
    tables = (assigner_table(), sampler_table(), head_table(), loss_table())
    body = '\n'.join(table.markdown() for table in tables)
    return f'{_INTRO}{_RULES}{body}\n{refusals()}'


# --- Parts -------------------------------------------------------------------------------


def _parts(registry: Any, module: str) -> Iterator[tuple[str, type]]:
    """The registered classes of one of our modules, aliases once, by name."""
    found: dict[type, str] = {}
    for name, target in registry.module_dict.items():
        if target.__module__.startswith(f'registry_losses.{module}.'):
            found.setdefault(target, name)
    return iter(sorted((name, target) for target, name in found.items()))


def _summary(target: type) -> str:
    """The first paragraph of a docstring, as Markdown."""
    text = (inspect.getdoc(target) or '').split('\n\n')[0].replace('\n', ' ').replace('|', '\\|')
    return re.sub(r':\w+:`~?', '`', text.replace('``', '`'))


def _names(values: Any) -> str:
    return ', '.join(sorted(value.replace('_', ' ') for value in values)) or '-'


def assigner_table() -> Table:
    """Each assigner, what it asks for and where it works."""
    rows = []
    for name, target in _parts(TASK_UTILS, 'assigners'):
        if not name.endswith('Assigner'):
            continue
        kind: Any = target
        where = 'dense heads' if kind.requires_grid else 'dense heads, proposals'
        rows.append((f'`{name}`', _summary(target), _names(kind.needs), where))
    return Table('Assigners', ('assigner', 'rule', 'asks the head for', 'priors'), tuple(rows))


def sampler_table() -> Table:
    """Each sampler."""
    rows = [
        (f'`{name}`', _summary(target), _names(target.needs))  # type: ignore[attr-defined]
        for name, target in _parts(TASK_UTILS, 'samplers')
    ]
    return Table('Samplers', ('sampler', 'choice', 'asks the head for'), tuple(rows))


def model_node(system: str) -> dict[str, Any]:
    """The head's node of one of the small configs, with its training settings in it."""
    cfg = Config.fromfile(configs_folder() / '_base_' / 'models' / f'{system}_tiny.py').model
    node = (cfg.get('bbox_head') or cfg.head).to_dict()
    return dict(node, train_cfg=cfg.train_cfg.to_dict(), test_cfg=cfg.test_cfg.to_dict())


def head_table() -> Table:
    """Each head and the terms it states."""
    rows = []
    for system in SYSTEMS:
        head = MODELS.build(model_node(system))
        terms = ', '.join(f'`{t.name}`: {KINDS[t.kind]}' for t in head.loss_terms)
        parts = (head, head.prior_generator, head.bbox_coder)
        names = ('none' if part is None else f'`{type(part).__name__}`' for part in parts)
        rows.append((system, *names, terms))
    return Table(
        'Heads, as the small configs have them',
        ('system', 'head', 'priors', 'coder', 'terms'),
        tuple(rows),
    )


def loss_table() -> Table:
    """Each loss and the kinds of terms that it serves."""
    rows = []
    for name, target in _parts(MODELS, 'losses'):
        served: dict[str, list[str]] = {}
        for label, options in _forms(target):
            built = MODELS.build(dict(type=name, **options))
            for kind in declared(built).kinds or ():
                served.setdefault(kind, []).append(label)
        every = len(list(_forms(target)))
        cells = [
            '' if kind not in served else 'x' if len(served[kind]) == every else served[kind][0]
            for kind in KINDS
        ]
        if served:
            rows.append((f'`{name}`', *cells))
    return Table('Losses and the terms they serve', ('loss', *KINDS.values()), tuple(rows))


def _forms(target: type) -> Iterator[tuple[str, dict[str, Any]]]:
    """A loss, in each of its activations where they are a choice."""
    if 'activation' in inspect.signature(target).parameters:
        yield 'sigmoid', dict(activation='sigmoid')
        yield 'softmax', dict(activation='softmax')
    else:
        yield '', {}


# --- Refusals ----------------------------------------------------------------------------

_REFUSED: tuple[tuple[str, str, Mapping[str, Any]], ...] = (
    ("a loss whose kind is not the term's", 'retinanet', dict(loss_cls=dict(type='GIoULoss'))),
    ('', 'centernet', dict(loss_wh=dict(type='GIoULoss'))),
    ('', 'fcos', dict(loss_bbox=dict(type='FocalLoss'))),
    (
        'a loss that needs an output which the head lacks',
        'retinanet',
        dict(loss_bbox=dict(type='DistributionFocalLoss')),
    ),
    ('', 'retinanet', dict(loss_bbox=dict(type='CrossEntropyLoss', use_sigmoid=True))),
    (
        'a loss set up for something else',
        'retinanet',
        dict(loss_cls=dict(type='SeesawLoss', num_classes=80)),
    ),
    ('', 'centernet', dict(loss_cls=dict(type='GaussianFocalLoss', use_sigmoid=False))),
    ('', 'openpose', dict(loss_field=dict(type='FocalLoss'))),
    (
        'a box loss on a head without boxes',
        'ssd',
        dict(bbox_coder=None),
    ),
)


def refusals() -> str:
    """What is refused, with the message that says so, each tried here."""
    lines = ['## What is refused when the config is built', '']
    for title, system, changes in _REFUSED:
        if title:
            lines += [f'**{title[0].upper()}{title[1:]}**', '']
        node = copy.deepcopy({**model_node(system), **changes})
        (key, value), *_ = changes.items()
        lines += [f'`{system}` with `{key}={_call(value)}`:', '', f'> {_message(node)}', '']
    grid = [n for n, t in _parts(TASK_UTILS, 'assigners') if getattr(t, 'requires_grid', False)]
    lines += [
        '**An assigner that needs a grid on priors without one** (proposals of a two-stage head)',
        '',
        ', '.join(f'`{name}`' for name in grid) + ':',
        '',
        f'> {_grid_message(grid[0])}',
    ]
    return '\n'.join(lines) + '\n'


def _call(value: Any) -> str:
    if not isinstance(value, Mapping):
        return repr(value)
    return 'dict(' + ', '.join(f'{k}={v!r}' for k, v in value.items()) + ')'


def _message(node: dict[str, Any]) -> str:
    try:
        MODELS.build(node)
    except PairingError as error:
        return f'PairingError: {error}'
    raise AssertionError(f'{node} was to be refused')


def _grid_message(name: str) -> str:
    boxes = torch.tensor([[0.0, 0, 8, 8]])
    priors = Priors(boxes, torch.full((1, 2), 8.0))
    gt = GroundTruth.from_lists([boxes], [torch.zeros(1, dtype=torch.long)], [(8, 8)])
    try:
        TASK_UTILS.build(dict(PRESETS.get(name, {}), type=name))(priors, gt)
    except PairingError as error:
        return f'PairingError: {error}'
    raise AssertionError(f'{name} was to be refused')


if __name__ == '__main__':
    import registry_losses  # noqa: F401  (registers everything)

    print(describe_pairings(), end='')
