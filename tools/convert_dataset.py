"""Convert a data set between COCO json, VOC XML and YOLO text."""

import sys
from pathlib import Path

# A checkout works without being installed; an installed package comes first.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from registry_losses.commands.convert_dataset import convert_dataset_main

if __name__ == '__main__':
    convert_dataset_main()
