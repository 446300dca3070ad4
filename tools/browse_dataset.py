"""Draw augmented images with their boxes."""

import sys
from pathlib import Path

# A checkout works without being installed; an installed package comes first.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from registry_losses.commands.browse_dataset import browse_dataset_main

if __name__ == '__main__':
    browse_dataset_main()
