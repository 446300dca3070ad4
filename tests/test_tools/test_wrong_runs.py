"""A stranger's first run, with something wrong in it: over before its first step, with a remedy."""

import itertools
import re
import time

import pytest
import torch

from registry_losses.commands.train import train_main
from registry_losses.engine import Runner

from .own_data import CLASSES, write_coco

CONFIG = """
_base_ = 'registry_losses::retinanet/retinanet_tiny_digits.py'
data = dict(
    _delete_=True, type='CocoDataset', data_root='{root}/', ann_file='all.json',
    data_prefix=dict(img='images/'), metainfo=dict(classes={classes}),
    pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
              dict(type='PackDetInputs')])
model = dict(bbox_head=dict(num_classes=2))
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False, dataset=data)
val_dataloader = dict(num_workers=0, persistent_workers=False,
                      dataset=dict(data, test_mode=True))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file='{root}/all.json')
test_evaluator = val_evaluator
train_cfg = dict(max_iters=4)
"""
_numbers = itertools.count()


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('own')
    write_coco(folder, count=4)
    torch.save(dict(state_dict={'module.fc.weight': torch.zeros(3, 3)}), folder / 'other.pth')
    return folder


WRONG = {
    'hook unknown': (
        ["custom_hooks=[dict(type='EMAHok')]"],
        r'custom_hooks\[0\]\.type: .*EMAHok.*EMAHook',
    ),
    'hook misspelt key': (
        ['default_hooks.checkpoint.intervall=2'],
        r'default_hooks\.checkpoint\.intervall: CheckpointHook does not read.*interval',
    ),
    'hook best': (
        ['default_hooks.checkpoint.save_best=bbox_mAP'],
        r"save_best='bbox_mAP': no validation yields it; there are coco/bbox_mAP",
    ),
    'schedule unit': (
        ["param_scheduler=[dict(type='MultiStepLR', by_epoch=True, milestones=[8, 11])]"],
        r'counts epochs, but the training counts iterations .*Add by_epoch=False',
    ),
    'schedule length': (['train_cfg.max_iter=3'], r'train_cfg\.max_iter: .*max_iters'),
    'classes misspelt': (
        ['train_dataloader.dataset.metainfo.classes=[bolt,nutt]'],
        r"classes match nothing in the file: 'nutt' \(nearest: 'nut'\).*missing_classes='warn'",
    ),
    'classes of the head': (
        ['model.bbox_head.num_classes=80'],
        r'model\.bbox_head\.num_classes is 80, but train_dataloader\.dataset has 2 classes',
    ),
    'checkpoint of another model': (
        ['load_from={root}/other.pth'],
        r'other\.pth: none of its 1 entries fits this model',
    ),
}


@pytest.mark.parametrize('kind', WRONG)
def test_it_ends_at_once_with_what_to_change(kind, root, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Runner, '_log_env', lambda self, env: None)  # seconds of its own
    options, message = WRONG[kind]
    path = tmp_path / 'own.py'
    path.write_text(CONFIG.format(root=root, classes=CLASSES))
    start = time.perf_counter()
    with pytest.raises(SystemExit) as end:
        train_main(
            [str(path), '--work-dir', str(tmp_path / 'run'), '--cfg-options']
            + [option.format(root=root) for option in options]
            + [f'experiment_name=wrong{next(_numbers)}']
        )
    assert time.perf_counter() - start < 60
    assert end.value.code == 1
    out, error = capsys.readouterr()
    assert 'Traceback' not in error
    assert re.search(message, error, re.DOTALL), error
    assert 'Iter(train)' not in out and not list(tmp_path.glob('run/*.pth'))
