"""Accumulation, mixed precision, averaged weights, batch norm and sharding under torchrun."""

import shutil
import sys

import pytest
import torch

from registry_losses.testing.training import final_state

from .runs import HERE, STEPS, TRAIN, call, options
from .train_variants import VARIANTS, folder, words

pytestmark = pytest.mark.slow
TORCHRUN = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node=2']


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """The folder in which one process and two have trained every variant."""
    out = tmp_path_factory.mktemp('variants')
    options(out / 'digits')  # draws the images, before any rank looks for them
    alone = [name for name, variant in VARIANTS.items() if variant.alike is None]
    call([sys.executable, HERE / 'train_variants.py', out, 1, *alone])
    call([*TORCHRUN, HERE / 'train_variants.py', out, 2, *VARIANTS])
    return out


def distance(one, two, start):
    """Norm of the difference of two state dicts, over that of what the first has learnt."""
    keys = [k for k, v in one.items() if v.is_floating_point()]
    gap = sum(float((one[k] - two[k]).double().square().sum()) for k in keys)
    return (gap / sum(float((one[k] - start[k]).double().square().sum()) for k in keys)) ** 0.5


@pytest.mark.parametrize('name', VARIANTS)
def test_two_processes_train_the_weights_of_one(name, trained):
    variant = VARIANTS[name]
    place = folder(trained, variant.alike or name, 1)
    one, two = final_state(place), final_state(folder(trained, name, 2))
    assert one['meta']['iter'] == two['meta']['iter'] == STEPS
    start = torch.load(place / 'start.pt', weights_only=True)
    assert one['state_dict'].keys() == two['state_dict'].keys() == start.keys()
    found = distance(one['state_dict'], two['state_dict'], start)
    print(f'| {name} | {found:.1e} |')
    assert found < variant.tolerance
    rates = [state['optimizer']['param_groups'][0]['lr'] for state in (one, two)]
    assert rates[0] == rates[1]
    if name == 'scaled rate':
        assert rates[0] == pytest.approx(0.0025), '4 images a step, and the rate is that of 16'
    if name == 'averaged weights':
        averages = [
            {k: v for k, v in state['ema_state_dict'].items() if k.startswith('module.')}
            for state in (one, two)
        ]
        begin = {f'module.{k}': v for k, v in start.items()}
        assert distance(*averages, begin) < variant.tolerance
        assert not torch.equal(*(next(iter(a.values())) for a in (averages[0], begin)))


@pytest.mark.parametrize('ranks', [1, 2])
def test_a_sharded_run_resumes_from_any_number_of_ranks(ranks, trained, tmp_path):
    """From a checkpoint of two sharded ranks in one, and the other way round."""
    names = ('sharded, AdamW, clipped', 'AdamW, clipped')
    name, other = names if ranks == 2 else names[::-1]
    source = folder(trained, other, 3 - ranks)
    target = folder(tmp_path, name, ranks)
    target.mkdir(parents=True)
    shutil.copy(source / 'iter_2.pth', target)
    shutil.copytree(trained / 'digits', tmp_path / 'digits')
    starter = [sys.executable] if ranks == 1 else TORCHRUN
    done = call([*starter, TRAIN, *words(tmp_path, name, ranks, more=['--resume'])])
    assert 'iter_2.pth' in done.stdout + done.stderr
    start = torch.load(folder(trained, names[1], 1) / 'start.pt', weights_only=True)
    one, two = final_state(folder(trained, names[1], 1)), final_state(target)
    assert distance(one['state_dict'], two['state_dict'], start) < 1e-4
