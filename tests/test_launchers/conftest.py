"""What the launchers' trainings are compared with: one process with the whole batch."""

import sys

import pytest

from .runs import TRAIN, call, options, train_words


@pytest.fixture(scope='session')
def small_digits(tmp_path_factory):
    """Options of the short training."""
    return options(tmp_path_factory.mktemp('digits'))


@pytest.fixture(scope='session')
def one_process(tmp_path_factory, small_digits):
    """The work directory of one process."""
    folder = tmp_path_factory.mktemp('one_process')
    call([sys.executable, TRAIN, *train_words(folder, small_digits, processes=1)])
    return folder
