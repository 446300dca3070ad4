"""Try every pairing: ``python tools/pairing_grid.py``; ``--help`` lists the options."""

import sys
from pathlib import Path

# A checkout works without being installed; an installed package comes first.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from registry_losses.commands.pairing_grid import pairing_grid_main

if __name__ == '__main__':
    pairing_grid_main()
