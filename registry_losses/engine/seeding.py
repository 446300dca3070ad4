"""Random numbers that depend on the seed and the step alone."""

from __future__ import annotations

import random

import numpy as np
import torch

FETCH_STREAM, MODEL_STREAM = 1, 2


def seed_step(seed: int, step: int, *, rank: int = 0, stream: int = MODEL_STREAM) -> None:
    """Seed Python's, NumPy's and PyTorch's generators for one training step.

    The generators then depend on (seed, step, rank) alone, so nothing that happened
    before (a validation, a resume, another number of workers) changes a step.

    Args:
        seed: Seed of the run.
        step: Steps taken before.
        rank: Rank of this process.
        stream: Keeps uses within a step apart.
    """
    words = np.random.SeedSequence([seed % 2**32, step, rank, stream]).generate_state(3)
    random.seed(int(words[0]))
    np.random.seed(int(words[1]))
    torch.manual_seed(int(words[2]))
