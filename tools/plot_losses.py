"""Draw losses: ``python tools/plot_losses.py FocalLoss:gamma=0,0.5,1,2,5 --out FILE.png``."""

import sys
from pathlib import Path

# A checkout works without being installed; an installed package comes first.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from registry_losses.commands.plot_losses import plot_losses_main

if __name__ == '__main__':
    plot_losses_main()
