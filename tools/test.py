"""Evaluate a detector: ``python tools/test.py CONFIG CHECKPOINT``; ``--help`` for more."""

import sys
from pathlib import Path

# A checkout works without being installed; an installed package comes first.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from registry_losses.commands.test import test_main

if __name__ == '__main__':
    test_main()
