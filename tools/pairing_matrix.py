"""Measure pairings: ``python tools/pairing_matrix.py --heads ... --assigners ... --steps N``."""

import sys
from pathlib import Path

# A checkout works without being installed; an installed package comes first.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from registry_losses.commands.pairing_matrix import pairing_matrix_main

if __name__ == '__main__':
    pairing_matrix_main()
