"""How often the host waits for the device, and that what replaces waiting is right.

Where no GPU is at hand the CPU plays one: with no device counted as the host, the rules
take the way they take on a GPU, and every call that would wait there is counted.
"""

from collections import Counter

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from registry_losses.ops import device
from registry_losses.structures import GroundTruth, Predictions, Priors

from . import scenes
from .cases import ASSIGNERS, GRIDS
from .test_common_properties import same

STATIC = ['MaxIoU', 'MaxIoU first', 'ATSS', 'BatchATSS', 'Grid', 'Point'] + [
    'YOLOV1',
    'YOLOV3',
    'YOLOV5',
    'Uniform',
    'SSD',
    'FCOS',
    'FCOS centre',
    'CenterNet',
    'Gaussian',
    'Gaussian unbiased',
    'CenterRegion',
    'Region',
    'ApproxMaxIoU',
    'DDOD',
    'PAA',
]
MATCHED_ON_THE_HOST = ['Hungarian', 'TopkHungarian']
DYNAMIC = ['SimOTA', 'DynamicSoftLabel', 'BatchDynamicSoftLabel', 'OTA', 'TaskAligned']
DYNAMIC += ['BatchTaskAligned', *MATCHED_ON_THE_HOST]
READS = {'tolist', 'item', 'nonzero', '__bool__', '__int__', '__float__', '__index__', 'cpu'}
READS |= {'masked_select', 'unique', '_unique2', 'unique_consecutive', 'bincount', 'equal'}


class CountWaits(TorchFunctionMode):
    """Counts the calls that would wait for a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(func, '__name__', str(func))
        masked = name in ('__getitem__', '__setitem__') and _has_mask(args[1])
        ragged = name == 'repeat_interleave' and 'output_size' not in kwargs
        if name in READS or masked or ragged:
            self.calls[name] += 1
        return func(*args, **kwargs)


def _has_mask(index) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(part, Tensor) and part.dtype == torch.bool for part in parts)


@pytest.fixture
def device_like(monkeypatch):
    """Nothing counts as the host."""
    monkeypatch.setattr(device, '_HOST_DEVICES', set())


@pytest.mark.parametrize('name', STATIC + DYNAMIC)
@pytest.mark.parametrize('kind', [*GRIDS, 'proposals'])
def test_same_answer_without_counting(name, kind, monkeypatch):
    assigner = ASSIGNERS[name].assigner
    if kind == 'proposals' and assigner.requires_grid:
        pytest.skip('needs a grid')
    priors = scenes.proposals(3) if kind == 'proposals' else GRIDS[kind]()
    g = torch.Generator().manual_seed(0)
    for seed in range(4):
        gt = scenes.random_gt(seed, batch=3, ties='ATSS' not in name and name != 'DDOD')
        if name == 'Point':  # the distances of a gt of no height tie
            gt = scenes.separate_gts(seed, batch=3)
        valid = torch.rand(3, priors.num_priors, generator=g) < 0.7
        some = priors.with_valid(valid) if seed % 2 else priors
        predictions = scenes.random_predictions(seed, priors, 3)
        expected = assigner(some, gt, predictions)
        with monkeypatch.context() as patch:
            patch.setattr(device, '_HOST_DEVICES', set())
            same(assigner(some, gt, predictions), expected)


@pytest.mark.parametrize(
    'name', [*(name for name in STATIC if name != 'SSD'), *MATCHED_ON_THE_HOST]
)
@pytest.mark.parametrize('kind', [*GRIDS, 'proposals'])
def test_at_most_two_waits(name, kind, device_like):
    """SSD is left out: it moves its pairs to the host in its second wait and goes on there."""
    assigner = ASSIGNERS[name].assigner
    if kind == 'proposals' and (assigner.requires_grid or name == 'Point'):
        pytest.skip('needs a grid, or reads the levels from bare points')
    priors = scenes.proposals(2) if kind == 'proposals' else GRIDS[kind](128)
    gt = scenes.gt_of([[(5, 5, 60, 60), (30, 30, 120, 90)], [(70, 80, 100, 120)]], size=128)
    gt = scenes.replace(
        gt, ignore_boxes=torch.rand(2, 3, 4), ignore_valid=gt.valid[:, :1].expand(2, 3)
    )
    predictions = scenes.random_predictions(0, priors, 2)
    assigner(priors, gt, predictions)  # fills the caches
    with CountWaits() as waits:
        found = assigner(priors, gt, predictions)
    assert found.num_pairs or found.ignored.any()
    assert waits.calls.total() <= 2, waits.calls


def to(value, device: str):
    """A value object with its tensors on a device."""
    moved = {k: v.to(device) for k, v in vars(value).items() if isinstance(v, Tensor)}
    return scenes.replace(value, **moved)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('name', STATIC)
def test_on_a_gpu(name):
    """The CPU's answer, and no more than two waits by torch's own account."""
    assigner, priors = ASSIGNERS[name].assigner, scenes.yolo_anchors(128)
    gt = scenes.random_gt(0, batch=3, size=128, ties=False)
    predictions = scenes.random_predictions(0, priors, 3)
    expected = assigner(priors, gt, predictions)
    on_gpu: tuple[Priors, GroundTruth, Predictions] = tuple(
        to(value, 'cuda') for value in (priors, gt, predictions)
    )
    assigner(*on_gpu)
    torch.cuda.set_sync_debug_mode('warn')
    try:
        with pytest.warns(UserWarning) as caught:
            found = assigner(*on_gpu)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert sum('synchronizing' in str(w.message) for w in caught) <= 2
    same(to(found, 'cpu'), expected)
