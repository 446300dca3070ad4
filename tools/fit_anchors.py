"""Fit anchors to the boxes of a data set."""

import sys
from pathlib import Path

# A checkout works without being installed; an installed package comes first.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from registry_losses.commands.fit_anchors import fit_anchors_main

if __name__ == '__main__':
    fit_anchors_main()
