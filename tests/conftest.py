"""What holds for every test."""

import gc
import logging
import os

import mmengine.config.config
import pytest
import torch

# Triton reads this once, as it is imported, and PyTorch may import it in any test.
if not torch.cuda.is_available():
    os.environ.setdefault('TRITON_INTERPRET', '1')

# Every run writes its config out, which yapf lays out for up to half a second. That the text is
# whole is what matters; tests/test_config has the layout back.
mmengine.config.config.FormatCode = lambda text, **options: (text, True)


def pytest_collection_finish(session):
    """Nothing that is imported goes away again, so no later collection need look at it.

    MMEngine's data sets collect garbage whenever one is made: a quarter of a second each time.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def logging_as_it_was():
    """Commands that silence the log of their own process do so for one test only."""
    level = logging.root.manager.disable
    yield
    logging.disable(level)
