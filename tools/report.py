"""One page for a run: ``python tools/report.py WORK_DIR``."""

import sys
from pathlib import Path

# A checkout works without being installed; an installed package comes first.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from registry_losses.commands.report import report_main

if __name__ == '__main__':
    report_main()
