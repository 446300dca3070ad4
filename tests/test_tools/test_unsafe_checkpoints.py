"""Checkpoints that run code, are damaged or hold NaN, by every way in which commands read them."""

import itertools
import os
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from registry_losses.commands.infer import infer_main
from registry_losses.commands.test import test_main as evaluate_main
from registry_losses.commands.train import train_main
from registry_losses.engine import build_model, trust_checkpoints

ROOT = Path(__file__).resolve().parents[2]
TOY = ROOT / 'tests' / 'test_engine' / 'toy_config.py'
DIGITS = ROOT / 'configs' / 'retinanet' / 'retinanet_tiny_digits.py'
WAYS = ('resume', 'load_from', 'test', 'infer')
_numbers = itertools.count()


class Maker:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.fixture(autouse=True)
def toy_project(monkeypatch):
    monkeypatch.syspath_prepend(str(TOY.parent))
    yield
    trust_checkpoints(False)


@pytest.fixture(scope='module')
def good(tmp_path_factory):
    """Whole checkpoints: of a toy run after its first epoch, and of a detector."""
    folder = tmp_path_factory.mktemp('good')
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TOY.parent))
        command('load_from', None, folder / 'run', 'train_cfg.max_epochs=1')
    toy = torch.load(folder / 'run' / 'epoch_1.pth', weights_only=True)
    return toy, dict(state_dict=build_model(DIGITS).state_dict(), meta={})


def command(way, path, folder, *options, trust=False):
    """Read ``path`` as a user would."""
    trusting = ['--trust-checkpoint'] if trust else []
    name = f'experiment_name=unsafe{next(_numbers)}'
    if way == 'infer':
        image = folder / 'a.png'
        folder.mkdir()
        cv2.imwrite(str(image), np.zeros((128, 128, 3), np.uint8))
        words = [DIGITS, path, image, '--out', folder / 'out', '--device', 'cpu', *trusting]
        infer_main([str(word) for word in words])
        return
    words = [TOY, '--work-dir', folder, *trusting]
    if way == 'resume':
        words += ['--resume', path]
    load = [f'load_from={path}'] if way == 'load_from' and path else []
    last = ['--cfg-options', name, *load, *options]
    main = evaluate_main if way == 'test' else train_main
    main([str(word) for word in [*words, *([path] if way == 'test' else []), *last]])


def checkpoint(way, good, **more):
    toy, detector = good
    return {**(detector if way == 'infer' else toy), **more}


def message_of(capsys, way, path, folder):
    """What the command says as it ends."""
    with pytest.raises(SystemExit) as end:
        command(way, path, folder)
    assert end.value.code == 1
    error = capsys.readouterr().err
    assert 'Traceback' not in error
    return error


@pytest.mark.parametrize('way', WAYS)
def test_code_is_refused_unless_the_user_trusts_it(way, good, tmp_path, capsys):
    ran, path = tmp_path / 'ran', tmp_path / 'evil.pth'
    torch.save(checkpoint(way, good, evil=Maker(ran)), path)
    error = message_of(capsys, way, path, tmp_path / 'refused')
    assert 'evil.pth: refused' in error and '--trust-checkpoint' in error
    assert not ran.exists()
    command(way, path, tmp_path / 'trusted', trust=True)
    assert ran.is_dir()


@pytest.mark.parametrize('way', WAYS)
def test_a_flipped_bit_is_seen(way, good, tmp_path, capsys):
    path = tmp_path / 'flipped.pth'
    torch.save(checkpoint(way, good), path)
    with zipfile.ZipFile(path) as archive:
        tensors = [each for each in archive.infolist() if '/data/' in each.filename]
    largest = max(tensors, key=lambda each: each.file_size)
    data = bytearray(path.read_bytes())
    name = largest.filename.encode()
    begin = data.index(name, largest.header_offset) + len(name)
    data[begin + 64 + largest.file_size // 2] ^= 1
    path.write_bytes(data)
    torch.load(path, weights_only=True)  # PyTorch sees nothing
    error = message_of(capsys, way, path, tmp_path / 'run')
    assert 'flipped.pth: not a whole checkpoint' in error


@pytest.mark.parametrize('way', WAYS[1:])
def test_weights_that_are_nan_are_named(way, good, tmp_path, capsys):
    path = tmp_path / 'nan.pth'
    weights = dict(checkpoint(way, good)['state_dict'])
    name = next(k for k, v in weights.items() if v.is_floating_point() and v.ndim > 1)
    weights[name] = torch.full_like(weights[name], float('nan'))
    both = {k: weights for k in ('state_dict', 'ema_state_dict') if k in checkpoint(way, good)}
    torch.save(checkpoint(way, good, **both), path)
    error = message_of(capsys, way, path, tmp_path / 'run')
    assert 'nan.pth: 1 tensors hold NaN or infinity' in error and name in error
