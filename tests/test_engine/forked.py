"""Trainings of the toy project in forked processes."""

from functools import partial

from registry_losses.commands.train import train_main
from registry_losses.testing import forked
from registry_losses.testing.forked import free_port, output, wait

from .conftest import CONFIG

__all__ = ['free_port', 'output', 'start', 'train', 'wait']

start = partial(forked.start, main=train_main, config=CONFIG)
train = partial(forked.train, main=train_main, config=CONFIG)
