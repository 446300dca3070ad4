"""See which priors learn which gt: ``tools/visualize_assignments.py CONFIG --assigners A B``."""

import sys
from pathlib import Path

# A checkout works without being installed; an installed package comes first.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from registry_losses.commands.visualize_assignments import visualize_assignments_main

if __name__ == '__main__':
    visualize_assignments_main()
