"""Checkpoint files: whole or absent, plain data, found wherever they lie."""

import errno
import os
import pickle
import zipfile
from collections import OrderedDict, deque

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from torch import nn

from registry_losses.engine import PretrainedInit, load_checkpoint_file, trust_checkpoints
from registry_losses.engine.checkpoint import (
    AtomicLocalBackend,
    find_resumable,
    make_plain,
    plain,
    remove_unfinished,
)
from registry_losses.engine.safe_loading import is_whole
from registry_losses.engine.weights import (
    load_weights,
    load_what_fits,
    match_weights,
    require_all,
)
from registry_losses.errors import CheckpointError
from registry_losses.registry import WEIGHT_INITIALIZERS


def save(path, iteration, **extra):
    checkpoint = dict(
        state_dict=OrderedDict(w=torch.arange(5000.0)),
        meta=dict(iter=iteration, epoch=0),
        optimizer={},
    )
    torch.save({**checkpoint, **extra}, path)
    return path


def truncate(path, share):
    with open(path, 'r+b') as file:
        file.truncate(int(os.path.getsize(path) * share))


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / 'a.pth'
    backend = AtomicLocalBackend()
    backend.put(b'old', path)

    def full(descriptor):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(CheckpointError, match=r'a\.pth: .*No space left.*max_keep_ckpts.*--resume'):
        backend.put(b'new', path)
    assert path.read_bytes() == b'old'
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_run_left_is_cleared_away(tmp_path):
    (tmp_path / '.a.pth.17.tmp').touch()
    (tmp_path / 'a.pth').touch()
    remove_unfinished(tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / 'a.pth']


def test_the_file_is_synced_before_it_gets_its_name(tmp_path, monkeypatch):
    events = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, 'fsync', lambda d: (events.append('sync'), sync(d)))
    monkeypatch.setattr(os, 'replace', lambda a, b: (events.append('rename'), replace(a, b)))
    AtomicLocalBackend().put(b'x', tmp_path / 'new' / 'a.pth')
    assert events == ['sync', 'rename', 'sync']


@pytest.mark.parametrize('share', [0.0, 0.3, 0.9, 0.999])
def test_truncated_files_are_skipped(tmp_path, share):
    save(tmp_path / 'iter_10.pth', 10)
    save(tmp_path / 'iter_20.pth', 20)
    truncate(tmp_path / 'iter_20.pth', share)
    assert not is_whole(tmp_path / 'iter_20.pth')
    with pytest.raises(CheckpointError, match=r'iter_20\.pth'):
        load_checkpoint_file(tmp_path / 'iter_20.pth')
    assert find_resumable(tmp_path).name == 'iter_10.pth'


def test_damage_inside_a_file_is_seen(tmp_path):
    path = save(tmp_path / 'iter_20.pth', 20)
    save(tmp_path / 'iter_10.pth', 10)
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda i: i.file_size)
    data = bytearray(path.read_bytes())
    data[largest.header_offset + 1000] ^= 1  # a bit of a weight: PyTorch would load it
    path.write_bytes(data)
    torch.load(path, weights_only=True)
    with pytest.raises(CheckpointError, match=r'iter_20\.pth: not a whole checkpoint'):
        load_checkpoint_file(path)
    assert find_resumable(tmp_path).name == 'iter_10.pth'


def test_the_newest_is_the_one_with_the_most_steps(tmp_path):
    save(tmp_path / 'epoch_9.pth', 90)
    save(tmp_path / 'epoch_10.pth', 100)
    save(tmp_path / 'iter_95.pth', 95)
    os.utime(tmp_path / 'epoch_10.pth', (1, 1))  # a copy has another date
    torch.save(dict(state_dict={}, meta=dict(iter=200)), tmp_path / 'best_iter_200.pth')
    (tmp_path / 'last_checkpoint').write_text('/nowhere/epoch_9.pth')
    assert find_resumable(tmp_path).name == 'epoch_10.pth'


def test_nothing_to_find(tmp_path):
    assert find_resumable(tmp_path) is None
    assert find_resumable(tmp_path / 'absent') is None
    with pytest.raises(CheckpointError, match='no such checkpoint'):
        load_checkpoint_file(tmp_path / 'absent.pth')


def test_plain():
    class Odd:
        pass

    value = {
        'a': np.float64(1.5),
        'b': np.arange(3),
        'c': deque([1]),
        'd': (True, None, 'x', Odd),
        'e': Odd(),
        'f': {1: torch.ones(1, requires_grad=True)},
        np.int64(7): np.bool_(True),
    }
    result = plain(value)
    assert result['a'] == 1.5
    assert type(result['a']) is float
    assert result['b'] == [0, 1, 2]
    assert result['c'] == [1]
    assert result['d'][:3] == (True, None, 'x')
    assert isinstance(result['d'][3], str)
    assert 'e' not in result
    assert not result['f'][1].requires_grad
    assert result[7] is True


def test_what_is_saved_loads_with_weights_only(tmp_path):
    checkpoint = dict(
        state_dict=OrderedDict(w=torch.ones(2)),
        message_hub=dict(
            log_scalars={'train/loss': HistoryBuffer([1.0], [1])},
            runtime_info={'best_score': np.float64(0.5), 'object': object()},
            resumed_keys={'train/loss': True, 'best_score': True},
        ),
        meta=dict(dataset_meta=dict(palette=np.zeros((2, 3), int))),
    )
    make_plain(checkpoint)
    torch.save(checkpoint, tmp_path / 'a.pth')
    loaded = torch.load(tmp_path / 'a.pth', weights_only=True)
    assert loaded['message_hub']['runtime_info'] == {'best_score': 0.5}
    assert loaded['message_hub']['resumed_keys'] == {'best_score': True}
    assert loaded['meta']['dataset_meta']['palette'] == [[0, 0, 0], [0, 0, 0]]


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return open, (self.target, 'w')


@pytest.mark.skipif(
    not hasattr(torch.serialization, 'get_unsafe_globals_in_checkpoint'),
    reason='needs PyTorch 2.6; before, such files are refused',
)
def test_foreign_checkpoints_load_without_running_their_code(tmp_path):
    path = save(
        tmp_path / 'foreign.pth',
        3,
        message_hub=HistoryBuffer([1.0, 2.0], [1, 1]),
        score=np.float64(0.3),
    )
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    loaded = load_checkpoint_file(path)
    assert torch.equal(loaded['state_dict']['w'], torch.arange(5000.0))
    assert loaded['meta']['iter'] == 3


@pytest.fixture
def trusting():
    """Trusts checkpoints, for one test."""
    trust_checkpoints()
    yield
    trust_checkpoints(False)


def evil(tmp_path):
    target = tmp_path / 'owned'
    return target, save(tmp_path / 'evil.pth', 3, evil=Evil(target))


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    target, path = evil(tmp_path)
    with pytest.raises(CheckpointError, match=r'evil\.pth: refused.*open.*--trust-checkpoint'):
        load_checkpoint_file(path)
    with pytest.raises(CheckpointError, match='none of the checkpoints'):
        find_resumable(tmp_path)
    with pytest.raises(CheckpointError, match='refused'):
        load_weights(nn.Linear(1, 1), path)
    with pytest.raises(CheckpointError, match='refused'):
        PretrainedInit(str(path))(nn.Linear(1, 1))
    assert not target.exists()


@pytest.mark.usefixtures('trusting')
def test_unless_the_user_trusts_it(tmp_path):
    target, path = evil(tmp_path)
    assert load_checkpoint_file(path)['meta']['iter'] == 3
    assert target.exists()


def test_only_unreadable_ones_are_not_passed_over(tmp_path):
    for name in ('iter_1.pth', 'iter_2.pth'):
        truncate(save(tmp_path / name, 1), 0.5)
    with pytest.raises(CheckpointError, match=r'(?s)iter_1\.pth.*iter_2\.pth.*To start afresh'):
        find_resumable(tmp_path)


def test_flipped_bits_anywhere_raise_nothing_of_their_own(tmp_path):
    save(tmp_path / 'iter_3.pth', 3)
    path = save(tmp_path / 'iter_5.pth', 5)
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.choice(len(good), 60, replace=False).tolist() + [
        *range(len(good) - 90, len(good), 3)
    ]:
        data = bytearray(good)
        data[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(data)
        assert find_resumable(tmp_path).name in ('iter_3.pth', 'iter_5.pth')
        try:
            loaded = load_checkpoint_file(path)
        except CheckpointError:
            continue
        assert torch.equal(loaded['state_dict']['w'], torch.arange(5000.0))


def test_weights_that_are_not_finite_are_named(tmp_path):
    state = nn.Linear(2, 2).state_dict()
    state['bias'][1] = float('nan')
    torch.save(state, tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match=r'1 tensors hold NaN or infinity \(bias\)'):
        load_weights(nn.Linear(2, 2), tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match='NaN or infinity'):
        load_what_fits(nn.Linear(2, 2), state, 'a')


def test_what_is_loaded_and_what_starts_afresh():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3))
    state = {f'module.{k}': v for k, v in model.state_dict().items()}
    state['module.1.weight'] = torch.zeros(4, 2)
    del state['module.1.bias']
    state['extra'] = torch.ones(1)
    summary = match_weights(model, state).summary()
    assert summary == (
        '2 of 4 tensors loaded; 2 start afresh: 1 have another shape there (1.weight (4, 2) for'
        ' (3, 2)), 1 are not there (1.bias); 1 of it are not used (extra)'
    )
    with pytest.raises(CheckpointError, match='not the weights of this config'):
        require_all(model, state, 'x')
    with pytest.raises(CheckpointError, match='none of its 1 entries fits'):
        load_what_fits(model, {'extra': torch.ones(1)}, 'x')


def test_pretrained_weights_of_a_part(tmp_path):
    source, target = nn.Linear(2, 2), nn.Linear(2, 2)
    torch.save({f'backbone.{k}': v for k, v in source.state_dict().items()}, tmp_path / 'a.pth')
    PretrainedInit(str(tmp_path / 'a.pth'), prefix='backbone.')(target)
    assert torch.equal(source.weight, target.weight)
    with pytest.raises(CheckpointError, match=r"no entry begins with 'neck\."):
        PretrainedInit(str(tmp_path / 'a.pth'), prefix='neck')(target)
    built = WEIGHT_INITIALIZERS.build(dict(type='Pretrained', checkpoint='a.pth'))
    assert type(built) is PretrainedInit


@pytest.mark.parametrize('name', ['open-mmlab://no_such_net', 'file:///nowhere/at/all.pth'])
def test_what_cannot_be_fetched_is_named(name, tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    with pytest.raises(CheckpointError, match=name):
        load_weights(nn.Linear(1, 1), name)
