"""Detect: ``python tools/infer.py CONFIG CHECKPOINT IMAGES... --out DIR``."""

import sys
from pathlib import Path

# A checkout works without being installed; an installed package comes first.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from registry_losses.commands.infer import infer_main

if __name__ == '__main__':
    infer_main()
