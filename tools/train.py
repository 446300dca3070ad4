"""Train a detector: ``python tools/train.py CONFIG``; ``--help`` lists the options."""

import sys
from pathlib import Path

# A checkout works without being installed; an installed package comes first.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from registry_losses.commands.train import train_main

if __name__ == '__main__':
    train_main()
