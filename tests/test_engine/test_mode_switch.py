"""The last epochs: transforms go, L1 comes."""

from types import SimpleNamespace

import pytest
from torch import nn

from registry_losses.engine import YOLOXModeSwitchHook
from registry_losses.errors import ConfigError


class Mosaic:
    pass


class Flip:
    pass


def runner_at(epoch, transforms=(Mosaic, Flip)):
    pipeline = SimpleNamespace(transforms=[t() for t in transforms])
    loader = SimpleNamespace(
        dataset=SimpleNamespace(dataset=SimpleNamespace(pipeline=pipeline)),
        persistent_workers=True,
        _iterator='old workers',
    )
    model = nn.Module()
    model.bbox_head = nn.Module()
    model.bbox_head.use_l1, model.bbox_head.loss_l1 = False, nn.L1Loss()
    return SimpleNamespace(epoch=epoch, max_epochs=10, model=model, train_dataloader=loader)


@pytest.mark.parametrize(('epoch', 'switched'), [(7, False), (8, True), (9, True)])
def test_it_switches_where_the_last_epochs_begin(epoch, switched):
    runner, hook = runner_at(epoch), YOLOXModeSwitchHook(num_last_epochs=2)
    hook.before_train_epoch(runner)
    kept = runner.train_dataloader.dataset.dataset.pipeline.transforms
    assert [type(t) for t in kept] == ([Flip] if switched else [Mosaic, Flip])
    assert runner.model.bbox_head.use_l1 is switched
    assert (runner.train_dataloader._iterator is None) is switched


def test_a_pipeline_without_the_transforms_is_refused():
    with pytest.raises(ConfigError, match='has none of Mosaic, RandomAffine, MixUp, Cached'):
        YOLOXModeSwitchHook(2).before_train_epoch(runner_at(9, (Flip,)))
    with pytest.raises(ConfigError, match='at least 1'):
        YOLOXModeSwitchHook(0)
