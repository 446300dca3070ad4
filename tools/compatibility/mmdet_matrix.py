"""Parts of this project in mmdet's heads, and mmdet's parts in ours, one pairing a row.

Each pairing is built from a config and run forward and backward on seeded feature maps; where
both projects have the part, the losses are compared. Needs mmdet 3.3 and mmcv-lite 2.1: see
``make mmdet-matrix``, which makes such an environment. mmcv's compiled operators are stood in
for by plain torch, as far as these heads call them.
"""

import argparse
import itertools
import logging
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from mmcv_stand_in import stand_in
from pairings import ours_in_theirs, theirs_in_ours
from running import Row


def page(rows: list[Row]) -> str:
    """The table as a Markdown page."""
    import mmcv
    import mmdet

    def lines(direction: str) -> Iterator[str]:
        yield '| head | part | outcome | |'
        yield '|---|---|---|---|'
        for row in rows:
            if row.direction == direction:
                detail = ' '.join(row.detail.split()).replace('|', '\\|')
                yield f'| {row.head} | `{row.part}` | {row.outcome} | {detail[:220]} |'

    return '\n'.join(
        [
            '# Inside mmdet, and mmdet inside',
            '',
            f'Made by `make mmdet-matrix` with mmdet {mmdet.__version__}, mmcv-lite '
            f'{mmcv.__version__} (compiled operators stood in for by plain torch), torch '
            f'{torch.__version__.split("+")[0]}, on a CPU. Each row is one part of a head swapped '
            'in the config, built, and run forward and backward on seeded feature maps.',
            '',
            "agrees: every loss equals to 1e-4 that of the same head with the other project's "
            'part of that name. trains: finite losses, none below 0, where there is nothing to '
            'compare with. refused: an error of this project that says why.',
            '',
            "## Parts of this project in mmdet's heads",
            '',
            *lines('ours'),
            '',
            "## mmdet's parts in the heads of this project",
            '',
            *lines('theirs'),
            '',
        ]
    )


def main() -> None:
    """Run every pairing; exit status 1 where one ends in a raw error or a wrong value."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--page', type=Path, help='write the table to this Markdown file')
    parser.add_argument('--only', help='pairings whose "head part" holds this text')
    args = parser.parse_args()
    warnings.filterwarnings('ignore')
    logging.disable(logging.WARNING)
    stand_in()
    from mmdet.utils import register_all_modules

    import registry_losses.plugins

    register_all_modules(init_default_scope=True)
    del registry_losses
    rows = []
    for row in itertools.chain(ours_in_theirs(), theirs_in_ours()):
        if args.only and args.only not in f'{row.head} {row.part}':
            continue
        rows.append(row)
        start = f'{row.direction:7}{row.head:8}{row.part:52}{row.outcome:12}'
        print(start + row.detail[:150], flush=True)
    if args.page:
        args.page.write_text(page(rows), encoding='utf-8')
    bad = [row for row in rows if row.outcome.isupper()]
    print(f'{len(rows)} pairings, {len(bad)} with a raw error or a wrong value')
    sys.exit(bool(bad))


if __name__ == '__main__':
    main()
