"""Checkpoint files: whole or absent, plain data, found wherever they lie."""

import os
import pickle
import zipfile
from collections import OrderedDict, deque

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from registry_losses.engine.checkpoint import (
    AtomicLocalBackend,
    find_resumable,
    is_whole,
    load_checkpoint_file,
    make_plain,
    plain,
    remove_unfinished,
)
from registry_losses.errors import CheckpointError


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


def test_a_failure_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / 'a.pth'
    backend = AtomicLocalBackend()
    backend.put(b'old', path)
    monkeypatch.setattr(os, 'fsync', lambda d: (_ for _ in ()).throw(OSError('disk full')))
    with pytest.raises(OSError, match='disk full'):
        backend.put(b'new', path)
    assert path.read_bytes() == b'old'
    assert len(list(tmp_path.iterdir())) == 2
    remove_unfinished(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


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
    data[largest.header_offset + 1000] ^= 255  # a bit of a weight: it still loads
    path.write_bytes(data)
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


def test_foreign_checkpoints_load_without_running_their_code(tmp_path):
    target = tmp_path / 'owned'
    path = save(
        tmp_path / 'foreign.pth',
        3,
        message_hub=HistoryBuffer([1.0, 2.0], [1, 1]),
        evil=Evil(target),
        score=np.float64(0.3),
    )
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    loaded = load_checkpoint_file(path)
    assert torch.equal(loaded['state_dict']['w'], torch.arange(5000.0))
    assert loaded['meta']['iter'] == 3
    assert not target.exists()
