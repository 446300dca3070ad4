"""What holds for every test."""

import logging

import pytest


@pytest.fixture(autouse=True)
def logging_as_it_was():
    """Commands that silence the log of their own process do so for one test only."""
    level = logging.root.manager.disable
    yield
    logging.disable(level)
