"""Tab completion: ``python tools/completion.py bash``."""

import sys
from pathlib import Path

# A checkout works without being installed; an installed package comes first.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from registry_losses.commands.completion import completion_main

if __name__ == '__main__':
    completion_main()
