"""Several processes train as one does; launchers are read; ranks stop together."""

import os
import socket
import zlib

import pytest
import torch
from torch import nn

from registry_losses.engine.distributed import (
    Rendezvous,
    first_slurm_host,
    init_distributed,
    read_rendezvous,
    slurm_address,
)
from registry_losses.errors import ConfigError
from registry_losses.testing.training import (
    assert_same_training_state,
    final_state,
    run_tool,
    weight_differences,
)

from . import forked
from .conftest import CONFIG, HERE

PORT_OF_JOB = 29500 + zlib.crc32(b'prterun-a@1') % 1000

# Dropout draws differ between ranks, so the comparison goes without it.
PLAIN = ['--cfg-options', 'model.dropout=0.0', 'default_hooks.checkpoint.max_keep_ckpts=-1']


@pytest.fixture(scope='module')
def two_processes(tmp_path_factory):
    work_dir = tmp_path_factory.mktemp('two')
    run_tool('train', CONFIG, '--work-dir', work_dir, *PLAIN, processes=2, python_path=HERE)
    return work_dir


@pytest.mark.slow  # tests/test_tools does the same with RetinaNet
def test_two_processes_equal_one_with_the_doubled_batch(two_processes, tmp_path, toy_runner):
    options = {'model.dropout': 0.0, 'train_dataloader.batch_size': 8}
    toy_runner(tmp_path, **options).train()
    two, one = final_state(two_processes), final_state(tmp_path)
    assert two['meta']['iter'] == one['meta']['iter'] == 9
    assert weight_differences(two['state_dict'], one['state_dict'], atol=1e-6) == []
    hub = [s['message_hub']['runtime_info']['best_score'] for s in (two, one)]
    assert hub[0] == pytest.approx(hub[1], rel=1e-5), 'all samples are validated once'


@pytest.mark.slow
def test_two_processes_resume_exactly(two_processes, tmp_path):
    (tmp_path / 'epoch_2.pth').write_bytes((two_processes / 'epoch_2.pth').read_bytes())
    arguments = ['--work-dir', tmp_path, '--resume', *PLAIN]
    run_tool('train', CONFIG, *arguments, processes=2, python_path=HERE)
    assert_same_training_state(two_processes, tmp_path)


def test_all_ranks_stop_at_a_loss_that_is_not_finite(tmp_path):
    options = ['model.nan_at=1007', 'custom_hooks.1.interval=2']
    codes = forked.train(tmp_path, options=options, processes=2, timeout=120)
    assert all(codes)
    for rank in range(2):
        output = forked.output(tmp_path, rank)
        assert 'NonFiniteLossError' in output and '1007' in output, 'both ranks say so'
    assert not list(tmp_path.glob('*.pth'))


@pytest.mark.parametrize(
    ('launcher', 'env', 'expected'),
    [
        (
            'pytorch',
            dict(RANK='3', WORLD_SIZE='4', LOCAL_RANK='1', MASTER_ADDR='a', MASTER_PORT='5'),
            Rendezvous(3, 4, 1, 'a', 5),
        ),
        (
            'slurm',
            dict(
                SLURM_PROCID='5',
                SLURM_NTASKS='8',
                SLURM_LOCALID='1',
                SLURM_NODELIST='127.0.0.[3-5],x1',
                SLURM_JOB_ID='2017',
            ),
            Rendezvous(5, 8, 1, '127.0.0.3', 29517),
        ),
        (
            'slurm',
            dict(
                SLURM_PROCID='0',
                SLURM_NTASKS='1',
                SLURM_NODELIST='localhost,127.0.0.9',
                SLURM_STEP_NODELIST='127.0.0.9',
                MASTER_PORT='77',
            ),
            Rendezvous(0, 1, 0, '127.0.0.9', 77),
        ),
        (
            'mpi',
            dict(
                OMPI_COMM_WORLD_RANK='1',
                OMPI_COMM_WORLD_SIZE='2',
                OMPI_COMM_WORLD_LOCAL_RANK='1',
                OMPI_COMM_WORLD_LOCAL_SIZE='2',
            ),
            Rendezvous(1, 2, 1, '127.0.0.1', 29500),
        ),
        (
            'mpi',
            dict(OMPI_COMM_WORLD_RANK='1', OMPI_COMM_WORLD_SIZE='2', PMIX_NAMESPACE='prterun-a@1'),
            Rendezvous(1, 2, 1, '127.0.0.1', PORT_OF_JOB),
        ),
        (
            'mpi',
            dict(PMI_RANK='2', PMI_SIZE='4', MPI_LOCALRANKID='0', MASTER_ADDR='h'),
            Rendezvous(2, 4, 0, 'h', 29500),
        ),
    ],
)
def test_launchers(launcher, env, expected):
    assert read_rendezvous(launcher, env) == expected


@pytest.mark.parametrize(
    ('launcher', 'env', 'message'),
    [
        ('pytorch', dict(RANK='0'), 'WORLD_SIZE.*torchrun'),
        ('slurm', {}, 'SLURM_PROCID.*srun'),
        (
            'slurm',
            dict(SLURM_PROCID='1', SLURM_NTASKS='2', SLURM_NODELIST='n[0-1].invalid'),
            'n0.*no network address.*set MASTER_ADDR',
        ),
        ('mpi', {}, 'OMPI_COMM_WORLD_RANK.*mpirun'),
        (
            'mpi',
            dict(
                OMPI_COMM_WORLD_RANK='0',
                OMPI_COMM_WORLD_SIZE='4',
                OMPI_COMM_WORLD_LOCAL_SIZE='2',
            ),
            'MASTER_ADDR',
        ),
        ('slrm', {}, "one of none, pytorch, slurm, mpi, got 'slrm'"),
    ],
)
def test_launchers_name_the_variable_that_is_missing(launcher, env, message):
    with pytest.raises(ConfigError, match=message):
        read_rendezvous(launcher, env)


@pytest.mark.parametrize(
    ('nodes', 'host'),
    [('a', 'a'), ('a,b', 'a'), ('n[7,9-11]', 'n7'), ('n[007-010],m[1-2]', 'n007')],
)
def test_first_slurm_host(nodes, host, monkeypatch):
    monkeypatch.setenv('PATH', '')  # no scontrol
    assert first_slurm_host(nodes) == host


def test_a_slurm_name_that_does_not_resolve_gives_way_to_the_address_slurm_has(
    monkeypatch, tmp_path
):
    scontrol = tmp_path / 'scontrol'
    scontrol.write_text('#!/bin/sh\necho "   NodeAddr=127.0.0.7 NodeHostName=$3 Version=22.05.8"\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv('PATH', str(tmp_path), prepend=os.pathsep)
    assert slurm_address('node-7.invalid') == '127.0.0.7'
    assert slurm_address('localhost') == 'localhost'


def test_an_address_that_does_not_resolve_fails_at_once(monkeypatch):
    values = dict(RANK='1', WORLD_SIZE='2', MASTER_ADDR='nowhere.invalid', MASTER_PORT='1')
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=r'MASTER_ADDR=nowhere\.invalid.*rank 0'):
        init_distributed('pytorch')


def test_a_port_that_is_taken_is_named(monkeypatch):
    with socket.socket() as other:
        other.bind(('127.0.0.1', 0))
        other.listen()
        port = other.getsockname()[1]
        address = dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
        values = dict(RANK='0', WORLD_SIZE='2', LOCAL_RANK='0', **address)
        for name, value in values.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(ConfigError, match=f'port {port}.*MASTER_PORT'):
            init_distributed('pytorch')


@pytest.mark.parametrize('launcher', ['slurm', pytest.param('mpi', marks=pytest.mark.slow)])
def test_a_launcher_of_one_process_trains(launcher, tmp_path):
    env = dict(
        slurm=dict(SLURM_PROCID='0', SLURM_NTASKS='1', SLURM_NODELIST='localhost'),
        mpi=dict(OMPI_COMM_WORLD_RANK='0', OMPI_COMM_WORLD_SIZE='1'),
    )[launcher]
    env.update(MASTER_PORT=str(forked.free_port()), MASTER_ADDR='127.0.0.1')
    codes = forked.train(
        tmp_path,
        '--launcher',
        launcher,
        options=['train_cfg.max_epochs=1', 'sync_bn=torch'],
        before=lambda: os.environ.update(env),
    )
    assert codes == [0], forked.output(tmp_path)
    assert final_state(tmp_path)['meta']['iter'] == 6


def test_amp_runs_in_bfloat16_on_the_cpu(tmp_path, toy_runner):
    runner = toy_runner(tmp_path, **{'optim_wrapper.type': 'AmpOptimWrapper'})
    seen = []

    class Spy(nn.Module):
        def forward(self, x):
            seen.append(x.dtype)
            return x

    runner.model.layers.insert(1, Spy())
    wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    with wrapper.optim_context(runner.model):
        runner.model(torch.zeros(2, 8))
    assert seen == [torch.bfloat16]
