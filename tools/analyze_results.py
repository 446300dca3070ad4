"""Show what a detector gets wrong."""

import sys
from pathlib import Path

# A checkout works without being installed; an installed package comes first.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from registry_losses.commands.analyze_results import analyze_results_main

if __name__ == '__main__':
    analyze_results_main()
