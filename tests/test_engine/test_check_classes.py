"""A head and a data set that disagree on the classes stop before the first step."""

from types import SimpleNamespace

import pytest
from torch import nn

from registry_losses.engine.hooks import CheckClassesHook
from registry_losses.errors import ConfigError


def runner(num_classes, classes):
    model = nn.Module()
    model.bbox_head = nn.Module()
    model.bbox_head.num_classes = num_classes
    model.rpn_head = nn.Module()
    model.rpn_head.num_classes = 1
    dataset = SimpleNamespace(metainfo=dict(classes=classes))
    loader = SimpleNamespace(dataset=dataset)
    return SimpleNamespace(model=model, train_dataloader=loader, val_dataloader=loader)


def test_agreement_passes():
    CheckClassesHook().before_train(runner(2, ('cat', 'dog')))
    CheckClassesHook().before_val(runner(80, None))


def test_disagreement_names_both_sides():
    message = r'bbox_head.num_classes is 80, but train_dataloader.dataset has 2 .*cat, dog'
    with pytest.raises(ConfigError, match=message):
        CheckClassesHook().before_train(runner(80, ('cat', 'dog')))


def test_classes_of_a_checkpoint_in_another_order_are_refused():
    """Each label would be another class: a test of such a pair gave an AP, and the wrong one."""
    run, hook = runner(2, ('cat', 'dog')), CheckClassesHook()
    run.test_dataloader = run.val_dataloader
    hook.after_load_checkpoint(run, dict(meta=dict(dataset_meta=dict(classes=['dog', 'cat']))))
    with pytest.raises(ConfigError, match='another order: cat, dog, where the checkpoint has dog'):
        hook.before_test(run)
    hook.before_train(run)  # begins with the weights: said in the log
    run._resume = True
    with pytest.raises(ConfigError, match='another order'):
        hook.before_train(run)
    for meta in ({}, dict(dataset_meta=None), dict(dataset_meta=dict(classes=['a', 'b']))):
        hook.after_load_checkpoint(run, dict(meta=meta))
        hook.before_test(run)
