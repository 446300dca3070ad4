"""The rates that optimizer and scheduler really see, step by step."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import LinearLR, OptimWrapper
from torch import nn

from registry_losses.engine import BiasWarmupHook
from registry_losses.errors import ConfigError


def runner_of(groups, model):
    optimizer = torch.optim.SGD(groups, lr=0.01)
    return SimpleNamespace(model=model, optim_wrapper=OptimWrapper(optimizer), iter=0)


def test_biases_come_down_while_weights_go_up():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    names = dict(model.named_parameters())
    runner = runner_of([dict(params=[p]) for p in names.values()], model)
    groups = dict(zip(names, runner.optim_wrapper.param_groups))
    scheduler = LinearLR(runner.optim_wrapper, start_factor=0.1, begin=0, end=4, by_epoch=False)
    hook = BiasWarmupHook(num_iters=4, start_lr=0.1)
    hook.before_train(runner)
    seen = {name: [] for name in names}
    for step in range(6):
        runner.iter = step
        hook.before_train_iter(runner, step)
        for name, group in groups.items():
            seen[name].append(group['lr'])
        hook.after_train_iter(runner, step)
        runner.optim_wrapper.step()
        scheduler.step()
    down = [0.1, 0.0775, 0.055, 0.0325, 0.01, 0.01]
    for name in ('0.bias', '1.bias'):
        assert seen[name] == pytest.approx(down)
    # The scheduler: from a tenth to all in four steps (MMEngine's LinearLR ends at `end - 1`).
    up = [0.001, 0.004, 0.007, 0.01, 0.01, 0.01]
    for name in ('0.weight', '1.weight'):
        assert seen[name] == pytest.approx(up)


def test_mistakes():
    model = nn.Linear(2, 2)
    with pytest.raises(ConfigError, match='share a parameter group'):
        BiasWarmupHook(3).before_train(runner_of(model.parameters(), model))
    for wrong in (dict(num_iters=0), dict(num_iters=5, start_lr=0)):
        with pytest.raises(ConfigError, match='BiasWarmupHook: expected'):
            BiasWarmupHook(**wrong)
