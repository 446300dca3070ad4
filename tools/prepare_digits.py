"""Draw the digits data set: ``python tools/prepare_digits.py [--data-root data/digits]``."""

import sys
from pathlib import Path

# A checkout works without being installed; an installed package comes first.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from registry_losses.commands.prepare_digits import prepare_digits_main

if __name__ == '__main__':
    prepare_digits_main()
