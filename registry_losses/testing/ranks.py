"""Whether W ranks learn what one process learns from the batches of all of them.

Each case is trained one step by W real processes (gloo) under DistributedDataParallel, and by
this process with all images at once; the gradients are compared. Batch norms are frozen,
since they count the images of their own rank alone.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import MessageHub
from mmengine.structures import InstanceData
from torch import Tensor, multiprocessing, nn
from torch import distributed as torch_dist
from torch.nn.parallel import DistributedDataParallel

from ..engine import build_model
from ..structures import DetDataSample
from .pairings.detectors import CLASSES, GRID_HEADS, HEADS, SIZE, head_config

PER_RANK = 2
POSE_HEADS = tuple(name for name, row in GRID_HEADS.items() if row.head == 'head')

Batch = Sequence[DetDataSample]


def _terms(**fields: Any) -> dict[str, Any]:
    """A RetinaNet whose loss terms are changed."""
    return dict(loss_terms=dict(loss_cls=fields, loss_bbox=dict(fields)))


# Normalisers and losses that no head has by default, on RetinaNet.
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    **{
        f'retinanet, {name}': _terms(normalizer=name)
        for name in ('class_positives', 'quality_sum', 'sampled', 'batch', 'elements', 'none')
    },
    'retinanet, level_mean': _terms(normalizer='level_mean', times_batch=True),
    'retinanet, GHM': dict(loss_cls=dict(type='GHMC', momentum=0.7), loss_bbox=dict(type='GHMR')),
    'retinanet, Seesaw': dict(loss_cls=dict(type='SeesawLoss', num_classes=CLASSES)),
}
# The detector of the two-stage heads is one.
CASES: tuple[str, ...] = (*(head for head in HEADS if head != 'rpn'), *VARIANTS)


def case_config(case: str) -> dict[str, Any]:
    """The model node of a case."""
    config = head_config(case.partition(',')[0])
    for key, value in VARIANTS.get(case, {}).items():
        config['bbox_head'][key] = value
    return config


def sample(image: int, count: int, *, ignored: bool = False) -> DetDataSample:
    """An annotated image: ``count`` persons or objects, or an ignore region all over it."""
    generator = torch.Generator().manual_seed(image)
    shape = (SIZE, SIZE)
    out = DetDataSample(
        metainfo=dict(img_shape=shape, pad_shape=shape, batch_input_shape=shape, img_id=image)
    )
    half = torch.rand(count, 2, generator=generator) * 20 + 4
    center = half + (SIZE - 2 * half) * torch.rand(count, 2, generator=generator)
    joints = center[:, None] + half[:, None] * (
        torch.rand(count, 17, 2, generator=generator) * 2 - 1
    )
    out.gt_instances = InstanceData(
        bboxes=torch.cat((center - half, center + half), dim=1),
        labels=torch.randint(CLASSES, (count,), generator=generator),
        keypoints=joints,
        keypoints_visible=torch.full((count, 17), 2.0),
    )
    if ignored:
        region = torch.tensor([[0.0, 0, SIZE, SIZE]])
        out.ignored_instances = InstanceData(bboxes=region)
    return out


def _from_counts(counts: Callable[[int, int], int], ranks: int) -> list[Batch]:
    return [
        [sample(rank * PER_RANK + i, counts(rank, i)) for i in range(PER_RANK)]
        for rank in range(ranks)
    ]


def _ignoring(ranks: int) -> list[Batch]:
    """The last rank has only ignore regions."""
    batches = _from_counts(lambda rank, i: 4, ranks)
    batches[-1] = [sample(each.img_id, 0, ignored=True) for each in batches[-1]]
    return batches


def _uneven(ranks: int) -> list[Batch]:
    """The first rank has an image less."""
    first, *rest = _from_counts(lambda rank, i: 3 + rank + i, ranks)
    return [first[:1], *rest]


SCENES: Mapping[str, Callable[[int], list[Batch]]] = {
    'objects on every rank': lambda w: _from_counts(lambda rank, i: 2 + 3 * rank + i, w),
    'objects on one rank': lambda w: _from_counts(lambda rank, i: 4 * (rank == 0), w),
    'one object': lambda w: _from_counts(lambda rank, i: int(rank == i == 0), w),
    'no object': lambda w: _from_counts(lambda rank, i: 0, w),
    'only ignore regions on a rank': _ignoring,
    'only ignore regions': lambda w: [
        [sample(rank * PER_RANK + i, 0, ignored=True) for i in range(PER_RANK)] for rank in range(w)
    ],
    'an image less on a rank': _uneven,
}
HUNDREDS = '500 objects in an image'
MANY = '5,000 objects in an image'


def scene(name: str, ranks: int, case: str) -> list[Batch]:
    """The batch of each rank; for a pose head 500 joints are the 30 persons of an image."""
    many = 5000 if name == MANY else 500
    if name not in (MANY, HUNDREDS):
        return SCENES[name](ranks)
    if case in POSE_HEADS:
        many = many // 17
    return _from_counts(lambda rank, i: many if rank == i == 0 else 2, ranks)


def pictures(batch: Batch) -> Tensor:
    """``(B, 3, H, W)`` noise, by image id."""
    out = []
    for each in batch:
        generator = torch.Generator().manual_seed(1000 + each.img_id)
        out.append(torch.randn(3, SIZE, SIZE, generator=generator))
    return torch.stack(out)


def build_case(case: str) -> nn.Module:
    """The model of a case, the same in every process, its batch norms frozen."""
    from mmengine.config import Config

    torch.manual_seed(0)
    model: Any = build_model(Config(dict(model=case_config(case))))
    model.init_weights()
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    return model


def _step(model: nn.Module, batch: Batch) -> list[str]:
    """Forward and backward of one batch; the names of the losses."""
    model.zero_grad()
    losses = model(pictures(batch), list(batch), mode='loss')
    total = sum(v for k, v in losses.items() if 'loss' in k)
    assert isinstance(total, Tensor)
    total.backward()
    return list(losses)


def _worker(
    rank: int, ranks: int, folder: str, cases: Sequence[str], scenes: Sequence[str]
) -> None:
    """One rank: every case on every scene, in the same order as all other ranks."""
    # A forked process has the hub of whoever forked it: see _reference.
    MessageHub.get_instance(f'one of {ranks} ranks')
    torch.set_num_threads(1)
    torch_dist.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=ranks
    )
    gradients: dict[tuple[str, str], dict[str, Tensor]] = {}
    for case in cases:
        for name in scenes:
            # Built anew, as some losses keep a moving average.
            model = build_case(case)
            # Without find_unused_parameters: a parameter without a gradient raises.
            parallel = DistributedDataParallel(model)
            batch = scene(name, ranks, case)[rank]
            keys = _step(parallel, batch)
            gathered: list[Any] = [None] * ranks
            torch_dist.all_gather_object(gathered, keys)
            assert all(each == keys for each in gathered), f'{case}, {name}: {gathered}'
            found = {k: p.grad for k, p in model.named_parameters() if p.requires_grad}
            missing = [k for k, grad in found.items() if grad is None]
            assert not missing, f'{case}, {name}: no graph to {missing}'
            gradients[case, name] = {k: g.clone() for k, g in found.items() if g is not None}
    if rank == 0:
        torch.save(gradients, f'{folder}/gradients.pt')
    torch_dist.barrier()
    torch_dist.destroy_process_group()


def _reference(case: str, name: str, ranks: int) -> dict[str, Tensor]:
    """The gradients of one process that sees all images at once."""
    # The step that samplers draw by is read from the current hub: not that of an earlier run.
    MessageHub.get_instance(f'one process in place of {ranks}')
    model = build_case(case)
    _step(model, [each for batch in scene(name, ranks, case) for each in batch])
    return {k: p.grad for k, p in model.named_parameters() if p.grad is not None}


def rank_differences(
    ranks: int,
    *,
    cases: Sequence[str] = CASES,
    scenes: Sequence[str] = (*SCENES, HUNDREDS),
    start_method: str = 'spawn',
) -> dict[tuple[str, str], float]:
    """How far the averaged gradient of ``ranks`` processes is from that of one.

    Args:
        ranks: W.
        cases: Of :data:`CASES`.
        scenes: Of :data:`SCENES`, :data:`HUNDREDS`, :data:`MANY`.
        start_method: How the processes start; ``'fork'`` saves what takes seconds to import.

    Returns:
        (case, scene) to the norm of the difference over the norm of the one process's
        gradient.
    """
    with tempfile.TemporaryDirectory() as folder:
        started = multiprocessing.start_processes(
            _worker,
            args=(ranks, folder, tuple(cases), tuple(scenes)),
            nprocs=ranks,
            join=False,
            start_method=start_method,
        )
        references = {
            (case, name): _reference(case, name, ranks) for case in cases for name in scenes
        }
        while not started.join():
            pass
        found = torch.load(Path(folder) / 'gradients.pt', weights_only=True)
    return {key: _distance(found[key], expected) for key, expected in references.items()}


def _distance(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> float:
    """Relative distance of two sets of gradients; infinite if they are of other parameters."""
    if found.keys() != expected.keys():
        return float('inf')
    gap = sum(float((found[k].double() - g.double()).square().sum()) for k, g in expected.items())
    norm = sum(float(g.double().square().sum()) for g in expected.values())
    return (gap / norm) ** 0.5 if norm else gap**0.5


def table(found: Mapping[int, Mapping[tuple[str, str], float]]) -> str:
    """A Markdown table: the largest difference of each case, and on which scene.

    Args:
        found: W to what :func:`rank_differences` returns.
    """
    cases = list(dict.fromkeys(case for rows in found.values() for case, _ in rows))
    lines = [
        '| head, and what is changed | ' + ' | '.join(f'{w} ranks' for w in found) + ' |',
        '|---|' + '---|' * len(found),
    ]
    for case in cases:
        cells = []
        for rows in found.values():
            worst, where = max((v, name) for (c, name), v in rows.items() if c == case)
            cells.append(f'{worst:.1e} ({where})')
        lines.append(f'| {case} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def write_table(page: Path, found: Mapping[int, Mapping[tuple[str, str], float]]) -> None:
    """Put :func:`table` between the marks ``<!-- ranks -->`` of a page."""
    before, mark, rest = page.read_text(encoding='utf-8').partition('<!-- ranks -->\n')
    _, end, after = rest.partition('<!-- end of ranks -->\n')
    if not mark or not end:
        raise ValueError(f'{page}: expected the marks <!-- ranks --> and <!-- end of ranks -->')
    page.write_text(f'{before}{mark}{table(found)}\n{end}{after}', encoding='utf-8')


if __name__ == '__main__':
    # python -m registry_losses.testing.ranks docs/distributed.md
    import logging
    import sys

    logging.disable(logging.INFO)
    torch.set_num_threads(1)
    write_table(Path(sys.argv[1]), {w: rank_differences(w) for w in (2, 4)})
