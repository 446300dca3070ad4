"""Draw the digits data set: ``python tools/prepare_digits.py [--data-root data/digits]``."""

import argparse
import sys
from pathlib import Path

# A checkout works without being installed; an installed package comes first.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from registry_losses.datasets import DigitsSpec, prepare_digits


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    default = DigitsSpec()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--data-root', default='data/digits', help='folder to write')
    parser.add_argument('--seed', type=int, default=default.seed)
    parser.add_argument('--num-train', type=int, default=default.num_train)
    parser.add_argument('--num-val', type=int, default=default.num_val)
    return parser.parse_args()


def main() -> None:
    """Draw the images unless they are there already."""
    args = parse_args()
    spec = DigitsSpec(seed=args.seed, num_train=args.num_train, num_val=args.num_val)
    drawn = prepare_digits(args.data_root, spec)
    print(f'{Path(args.data_root).absolute()}: {"drawn" if drawn else "already there"}')


if __name__ == '__main__':
    main()
