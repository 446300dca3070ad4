"""Compare runs: ``python tools/compare_runs.py WORK_DIR... [--out curves.png]``."""

import sys
from pathlib import Path

# A checkout works without being installed; an installed package comes first.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from registry_losses.commands.compare_runs import compare_runs_main

if __name__ == '__main__':
    compare_runs_main()
