"""See what a config pairs before training: ``python tools/check_config.py CONFIG``."""

import sys
from pathlib import Path

# A checkout works without being installed; an installed package comes first.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from registry_losses.commands.check_config import check_config_main

if __name__ == '__main__':
    check_config_main()
