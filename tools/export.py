"""Export: ``python tools/export.py CONFIG CHECKPOINT --out model.onnx``."""

import sys
from pathlib import Path

# A checkout works without being installed; an installed package comes first.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from registry_losses.commands.export import export_main

if __name__ == '__main__':
    export_main()
