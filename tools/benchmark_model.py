"""Measure: ``python tools/benchmark_model.py CONFIG``."""

import sys
from pathlib import Path

# A checkout works without being installed; an installed package comes first.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from registry_losses.commands.benchmark_model import benchmark_model_main

if __name__ == '__main__':
    benchmark_model_main()
