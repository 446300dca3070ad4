"""Time of bottom-up pose: targets, loss and decoding, against the plain formulas.

    python tools/benchmark/pose.py [--persons 1 5 30]

Maps of 128 x 128 cells (images of 512 pixels), 17 joints, 19 limbs, Gaussians of sigma 2;
targets and loss for 16 images, decoding of one. A line gives the milliseconds, the same in
read-write passes over 8 M floats, the milliseconds of the plain formula (person by person,
joint by joint, as the papers state it and as the established packages do it) in the same
run, and how many times ours is faster; for associative embedding also how many times fewer
passes ours takes than the established implementation once took at 30 persons
(``ESTABLISHED``). Where MMPose is installed, its own code is timed in the same run. One
thread; times are of the processor, so that other programs on the machine do not count.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

# A checkout works without being installed; an installed package comes first.
sys.path.append(str(Path(__file__).resolve().parents[2]))

import numpy as np
import pose_formulas as plain
import torch
from mmengine.structures import InstanceData
from pose_peers import mmpose_calls, mmpose_version

from registry_losses.commands.cli import positive_int
from registry_losses.heads import AEHead, OpenPoseHead, evaluate_terms
from registry_losses.structures import DetDataSample
from registry_losses.structures.skeleton import COCO_17

# A person takes 0.9 MB (measured: 0.5 GB at 30 persons, 1.3 GB at 1,000), the plain formulas
# 30 ms for the heatmaps alone.
MOST_PERSONS = 1000
BATCH, SIZE, STRIDE, SIGMA = 16, 512, 4, 2.0
CELLS = SIZE // STRIDE
PASS_FLOATS = 8_000_000
# Milliseconds of the established implementation at 30 persons on another machine of two
# cores, where a read-write pass took 3.3 ms: targets of 16 images, loss, decoding of one.
ESTABLISHED_PASS_MS = 3.3
ESTABLISHED = {'AE targets': 308, 'AE loss': 1048, 'AE decode': 62}


def cpu_ms(call: Callable[[], Any], repeat: int = 7) -> float:
    """The least processor time of several runs after a first one."""
    call()
    best = float('inf')
    for _ in range(repeat):
        start = time.process_time()
        call()
        best = min(best, time.process_time() - start)
    return best * 1e3


def people(count: int, seed: int) -> np.ndarray:
    """``(n, 17, 2)`` upright persons side by side, in pixels."""
    rng = np.random.default_rng(seed)
    shape = np.array([
        [0, 0.05], [0.03, 0], [-0.03, 0], [0.07, 0.03], [-0.07, 0.03], [0.14, 0.2], [-0.14, 0.2],
        [0.2, 0.36], [-0.2, 0.36], [0.22, 0.52], [-0.22, 0.52], [0.09, 0.5], [-0.09, 0.5],
        [0.1, 0.75], [-0.1, 0.75], [0.1, 1.0], [-0.1, 1.0],
    ])  # fmt: skip
    columns = int(np.ceil(np.sqrt(count)))
    cell = SIZE / columns
    at = [np.array([i % columns + 0.5, i // columns + 0.1]) * cell for i in range(count)]
    persons = [a + shape * cell * 0.75 + rng.uniform(-1, 1, (17, 2)) for a in at]
    return np.clip(np.array(persons), 0, SIZE - 0.1)


def sample_of(points: np.ndarray) -> DetDataSample:
    """A data sample of persons."""
    joints = torch.tensor(points, dtype=torch.float32)
    sample = DetDataSample(metainfo=dict(img_shape=(SIZE, SIZE)))
    sample.gt_instances = InstanceData(
        bboxes=torch.cat((joints.amin(1), joints.amax(1)), dim=1),
        labels=torch.zeros(len(joints), dtype=torch.long),
        keypoints=joints,
        keypoints_visible=torch.full(joints.shape[:2], 2.0),
    )
    return sample


def rows(persons: int) -> list[tuple[str, Callable, Callable, Callable | None]]:
    """Name, our call, the plain one and MMPose's, of everything that is timed."""
    common = dict(
        prior_generator=dict(type='MlvlPointGenerator', strides=[STRIDE]),
        train_cfg=dict(assigner=dict(type='GaussianAssigner', sigma=SIGMA, unbiased=True)),
    )
    ae = AEHead(COCO_17, 8, **common)
    openpose = OpenPoseHead(COCO_17, 8, stages=[dict(kernels=(1,), channels=(8,))], **common)
    points = [people(persons, seed) for seed in range(BATCH)]
    samples = [sample_of(p) for p in points]
    cells = [p / STRIDE - 0.5 for p in points]
    limbs = COCO_17.limbs

    empty = torch.zeros(BATCH, 17, CELLS, CELLS)
    priors = ae.priors(((empty,),))

    def ae_targets() -> torch.Tensor:
        gt = ae.ground_truth(samples)
        return ae.assigner(priors, gt, None).class_targets(gt, priors, 17).dense()

    def fields() -> torch.Tensor:
        return openpose.dense_targets(openpose.ground_truth(samples), priors)['field']

    heat, tags = (torch.randn(BATCH, 17, CELLS, CELLS).requires_grad_() for _ in range(2))
    gt = ae.ground_truth(samples)
    inputs = ae.loss_inputs(((heat,), (tags,)), gt)

    def ae_loss() -> None:
        losses = evaluate_terms(ae.loss_terms, replace(inputs, _cache={}))
        sum(losses.values()).backward()  # type: ignore[union-attr]

    true_heat = np.stack([plain.heatmaps(c, (CELLS, CELLS), SIGMA) for c in cells])
    true_fields = plain.fields(cells[0], limbs, (CELLS, CELLS), 1.0)
    true_tags = plain.tag_maps(cells[0], (CELLS, CELLS))
    target = torch.from_numpy(true_heat)

    def plain_loss() -> None:
        plain.embedding_loss(heat, tags, target, cells).backward()

    one = torch.from_numpy(true_heat[:1])
    metas = [dict(img_shape=(SIZE, SIZE))]
    tag_map = torch.from_numpy(true_tags)[None]
    background = 1 - one.amax(1, keepdim=True)
    confidence = torch.cat((one, background), 1)[None]
    field_map = torch.from_numpy(true_fields)[None, None]
    peers: dict[str, Callable] = {}
    if mmpose_version():
        peers = mmpose_calls(points, SIZE, CELLS, SIGMA, heat, tags, one, tag_map)
    timed: list[tuple[str, Callable, Callable]] = [
        ('AE targets', ae_targets,
         lambda: [plain.heatmaps(c, (CELLS, CELLS), SIGMA) for c in cells]),
        ('fields', fields, lambda: [plain.fields(c, limbs, (CELLS, CELLS), 1.0) for c in cells]),
        ('AE loss', ae_loss, plain_loss),
        ('AE decode', lambda: ae.predict_by_feat((one,), (tag_map,), batch_img_metas=metas),
         lambda: plain.group_by_tags(true_heat[0], true_tags)),
        ('OpenPose decode',
         lambda: openpose.predict_by_feat((confidence,), (field_map,), batch_img_metas=metas),
         lambda: plain.group_by_limbs(true_heat[0], true_fields, limbs)),
    ]  # fmt: skip
    return [(name, ours, theirs, peers.get(name)) for name, ours, theirs in timed]


def person_count(text: str) -> int:
    """A value of ``--persons``."""
    count = positive_int(text)
    if count > MOST_PERSONS:
        raise argparse.ArgumentTypeError(
            f'expected at most {MOST_PERSONS} persons an image, got {text}: each takes 0.9 MB of '
            f'memory, {count * 0.9e-3:,.1f} GB in all; give fewer'
        )
    return count


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--persons', type=person_count, nargs='+', default=[1, 5, 30])
    args = parser.parse_args()
    torch.set_num_threads(1)
    x = torch.rand(PASS_FLOATS)
    y = torch.empty_like(x)
    one_pass = cpu_ms(lambda: torch.add(x, 1, out=y), 15)
    print(f'one read-write pass over 8 M floats: {one_pass:.2f} ms')
    print(f'MMPose: {mmpose_version() or "not installed"}')
    print(
        f'{"":16} persons      ms  passes  plain ms  faster  MMPose ms  faster  '
        'fewer passes than established'
    )
    for persons in args.persons:
        for name, ours, theirs, mmpose in rows(persons):
            ms, other = cpu_ms(ours, 5), cpu_ms(theirs, 1)
            fewer, peer = '', ' ' * 17
            if mmpose is not None:
                peer_ms = cpu_ms(mmpose, 1)
                peer = f'{peer_ms:9.1f} {peer_ms / ms:6.1f}x'
            if persons == 30 and name in ESTABLISHED:
                once = ESTABLISHED[name] / ESTABLISHED_PASS_MS
                fewer = f'{once / (ms / one_pass):.1f} x'
            print(
                f'{name:16} {persons:7} {ms:7.1f} {ms / one_pass:7.2f} {other:9.1f} '
                f'{other / ms:6.1f}x  {peer}  {fewer}',
                flush=True,
            )


if __name__ == '__main__':
    main()
