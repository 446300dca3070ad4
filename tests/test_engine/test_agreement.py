"""Ranks that differ, or lose one of them, end by themselves in time and say why.

No launcher ends them here: every rank has to notice.
"""

import os
import re
import shutil
import subprocess
import time

import pytest

from registry_losses.engine.agreement import check_ranks_agree
from registry_losses.engine.distributed import check_not_launched
from registry_losses.errors import ConfigError

from .conftest import CONFIG
from .forked import output, start, train, wait

LIMIT = 40  # seconds, most of them a loaded machine's


def by_rank(folder, line):
    """A config whose ``line`` may ask for ``rank``."""
    path = folder / 'by_rank.py'
    path.write_text(
        f"import os\n_base_ = ['{CONFIG}']\nrank = int(os.environ.get('RANK', '0'))\n"
        f'{line}\ndel os, rank\n'
    )
    return path


def end_of(folder, line, **options):
    """Exit codes and messages of two ranks."""
    codes = train(folder, processes=2, config=by_rank(folder, line), timeout=LIMIT, **options)
    return codes, [output(folder, rank) for rank in (0, 1)]


@pytest.mark.parametrize(
    ('line', 'said'),
    [
        ('model = dict(dropout=0.1 * rank)', r"model is not the same on all ranks: .*'dropout': 0"),
        pytest.param(
            'train_dataloader = dict(batch_size=4 + rank)',
            'train_dataloader.batch_size is not the same on all ranks: 4 on rank 0, 5 on rank 1',
            marks=pytest.mark.slow,
        ),
        pytest.param(
            'train_dataloader = dict(dataset=dict(size=24 - rank))',
            'the number of training images is not the same on all ranks: 24 on rank 0, 23 on',
            marks=pytest.mark.slow,
        ),
        pytest.param(
            'train_cfg = dict(max_epochs=3 + rank)', 'train_cfg is not', marks=pytest.mark.slow
        ),
        pytest.param(
            'optim_wrapper = dict(optimizer=dict(lr=0.01 * (1 + rank)))',
            r"optim_wrapper is not the same on all ranks: .*'lr': 0.01.* on rank 0, .*'lr': 0.02",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "param_scheduler = [dict(type='MultiStepLR', by_epoch=True, milestones=[1 + rank])]",
            r'param_scheduler is not the same on all ranks: .*\[1\].* on rank 0, .*\[2\]',
            marks=pytest.mark.slow,
        ),
    ],
)
def test_ranks_that_would_take_other_steps_are_refused(tmp_path, line, said):
    codes, texts = end_of(tmp_path, line)
    assert codes == [1, 1]
    for text in texts:
        assert 'Traceback' not in text
    assert all(re.search(said, text) for text in texts), texts


@pytest.mark.parametrize(
    ('line', 'said'),
    [
        pytest.param(  # before the ranks have met: rank 0 waits for the timeout
            "model = dict(type='ToyModel' if rank == 0 else 'ToyModle')",
            'ToyModle',
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "train_dataloader = dict(dataset=dict(type='CocoDataset', _delete_=True,"
            " data_root='/nowhere/', ann_file='a.json', data_prefix=dict(img=''), pipeline=[])"
            ' if rank == 1 else dict())',
            'nowhere',
            marks=pytest.mark.slow,
        ),
    ],
)
def test_an_error_of_one_rank_ends_the_others(tmp_path, line, said):
    """A wrong config, or a data set that is missing, on one host alone."""
    codes, texts = end_of(tmp_path, line, options=['env_cfg.dist_cfg.timeout=15'])
    assert codes == [1, 1]
    assert said in texts[1]
    for text in texts:
        assert 'Traceback' not in text
    assert 'rank 0 of 2' in texts[0], texts[0]


@pytest.mark.slow
def test_a_full_disk_of_rank_0(tmp_path):
    place = tmp_path / 'small'
    place.mkdir()
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=48k', 'tmpfs', str(place)]
    if os.geteuid() != 0 or shutil.which('mount') is None or subprocess.run(mount).returncode:
        pytest.skip('needs root and tmpfs')
    try:
        options = [f'default_hooks.checkpoint.out_dir={place}']
        assert train(tmp_path / 'run', processes=2, options=options, timeout=LIMIT) == [1, 1]
        texts = [output(tmp_path / 'run', rank) for rank in (0, 1)]
        assert 'No space left on device' in texts[0]
        assert str(place) in texts[0]
        assert 'another rank has ended' in texts[1]
        assert 'Traceback' not in texts[0] + texts[1]
        assert not list(place.rglob('.*.tmp')), 'half a file would fill the disk for the next start'
    finally:
        subprocess.run(['umount', str(place)], check=True)


@pytest.mark.slow
def test_a_rank_that_never_comes(tmp_path):
    """Of two processes one is started."""
    begin = time.monotonic()
    pids = start(tmp_path, processes=2, options=['env_cfg.dist_cfg.timeout=5'], before=_only_rank_0)
    assert wait(pids, timeout=LIMIT) == [1, 0]
    assert time.monotonic() - begin < LIMIT
    text = output(tmp_path)
    assert 'rank 0 of 2 waited for 5 s (env_cfg.dist_cfg.timeout) at 127.0.0.1:' in text
    assert 'Traceback' not in text


def _only_rank_0():
    if os.environ['RANK'] == '1':
        raise SystemExit(0)


def test_processes_that_do_not_know_of_each_other_are_refused():
    check_not_launched({})
    check_not_launched(dict(TORCHELASTIC_RUN_ID='x', WORLD_SIZE='1'))
    check_not_launched(dict(SLURM_NTASKS='4', SLURM_PROCID='0'))  # a batch script, outside srun
    for launcher, env in (
        ('pytorch', dict(TORCHELASTIC_RUN_ID='x', WORLD_SIZE='2')),
        ('slurm', dict(SLURM_STEP_NUM_TASKS='2')),
        ('mpi', dict(OMPI_COMM_WORLD_SIZE='2')),
    ):
        with pytest.raises(ConfigError, match=f'one of 2 processes.*--launcher {launcher}'):
            check_not_launched(env)


def test_one_process_agrees_with_itself():
    check_ranks_agree(dict(model='any'))


@pytest.mark.slow
@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (['custom_hooks=[dict(type="EMAHook")]'], 'EMAHook copies the model'),
        (
            [
                'custom_hooks=[]',
                'optim_wrapper.type=AmpOptimWrapper',
                'optim_wrapper.dtype=float16',
            ],
            'not in float16',
        ),
        (['custom_hooks=[]', 'model_wrapper_cfg.units=[head]'], "has no ['head']; it has"),
    ],
)
def test_what_sharded_weights_do_not_go_with(tmp_path, options, said):
    sharded = ["model_wrapper_cfg.type='FullyShard'", 'model_wrapper_cfg.units=[]']
    sharded = [o for o in sharded if not any(o.split('=')[0] in more for more in options)]
    codes = train(tmp_path, processes=2, options=[*sharded, *options], timeout=LIMIT)
    assert codes == [1, 1]
    assert said in output(tmp_path)
