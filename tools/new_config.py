"""Write a config for your own data."""

import sys
from pathlib import Path

# A checkout works without being installed; an installed package comes first.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from registry_losses.commands.new_config import new_config_main

if __name__ == '__main__':
    new_config_main()
