"""Batch norm of two ranks on a CPU is that of one process with the images of both."""

import os
import traceback

import pytest
import torch
from torch import distributed, nn

from registry_losses.engine.sync_batch_norm import synchronize_batch_norms

from .forked import wait

SHARES = (3, 1)  # images of each rank


def model():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4, momentum=0.3), nn.ReLU(), nn.Conv2d(4, 3, 3)
    ).double()


def images():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(sum(SHARES), 2, 7, 7, generator=generator, dtype=torch.float64) * 3 + 100


def rank_of_two(rank, folder):
    """Two steps' forward and the gradients, summed over the ranks; to ``folder/RANK.pt``."""
    distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2
    )
    net = synchronize_batch_norms(model()).train()
    x = images().split(SHARES)[rank].requires_grad_()
    for _ in range(2):
        net.zero_grad()
        x.grad = None
        net(x).square().sum().backward()
    for parameter in net.parameters():
        distributed.all_reduce(parameter.grad)
    grads = {name: p.grad for name, p in net.named_parameters()}
    torch.save(dict(grads=grads, x=x.grad, state=net.state_dict()), f'{folder}/{rank}.pt')
    distributed.destroy_process_group()


@pytest.fixture(scope='module')
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp('ranks')
    pids = []
    for rank in range(2):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                rank_of_two(rank, folder)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        pids.append(pid)
    assert wait(pids, timeout=60) == [0, 0]
    return [torch.load(folder / f'{rank}.pt', weights_only=True) for rank in range(2)]


def test_ranks_of_uneven_size_equal_one_process(ranks):
    net, x = model().train(), images().requires_grad_()
    for _ in range(2):
        net.zero_grad()
        x.grad = None
        net(x).square().sum().backward()
    for name, parameter in net.named_parameters():
        for rank in ranks:
            torch.testing.assert_close(rank['grads'][name], parameter.grad)
    torch.testing.assert_close(torch.cat([rank['x'] for rank in ranks]), x.grad)
    for rank in ranks:
        torch.testing.assert_close(rank['state'], net.state_dict())  # the running values too


def test_on_one_rank_and_in_evaluation_it_is_plain():
    plain, x = model(), images()
    synchronized = synchronize_batch_norms(model())
    assert plain.state_dict().keys() == synchronized.state_dict().keys()
    assert torch.equal(synchronized.train()(x), plain.train()(x))
    assert torch.equal(synchronized.eval()(x), plain.eval()(x))
