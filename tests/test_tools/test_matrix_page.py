"""docs/pairing_matrix.md: its commands parse, and its table is what the rows say."""

import re
import shlex
from pathlib import Path

from registry_losses.commands.matrix_config import Pairing, pairing_config
from registry_losses.commands.matrix_results import read
from registry_losses.commands.matrix_runs import pairings
from registry_losses.commands.pairing_matrix import pairing_matrix_parser

DOCS = Path(__file__).parents[2] / 'docs'
PAGE = (DOCS / 'pairing_matrix.md').read_text(encoding='utf-8')


def commands() -> list[list[str]]:
    """The whole commands of the page, without those that are cut short."""
    blocks = '\n'.join(re.findall(r'```bash\n(.*?)```', PAGE, re.S)).replace('\\\n', ' ')
    lines = [line for line in blocks.splitlines() if 'pairing_matrix.py' in line]
    return [shlex.split(line, comments=True)[2:] for line in lines if '...' not in line]


def test_the_commands_name_what_there_is():
    assert len(commands()) == 2
    counts = []
    for words in commands():
        cells = pairings(pairing_matrix_parser().parse_args(words))
        counts.append(len(cells))
        first = cells[0].head  # every part on one head, and every head
        tried = {Pairing(first, c.assigner, c.loss) for c in cells} | {
            Pairing(c.head) for c in cells
        }
        for cell in tried:
            pairing_config(cell, steps=1600)
    assert counts == [int(n) for n in re.findall(r'# +(\d+)(?: runs)?$', PAGE, re.M)]


def test_the_budget_is_what_was_measured():
    rows = {(r.head, r.steps): r.AP for r in read([DOCS / 'results' / 'pairing_budget.csv'])}
    for head, name in (('retinanet', 'RetinaNet'), ('fcos', 'FCOS')):
        line = next(line for line in PAGE.splitlines() if line.startswith(f'| {name} |'))
        short, long, whole = (float(cell) for cell in line.split('|')[2:5])
        assert (short, long) == (round(rows[head, 700], 3), round(rows[head, 1600], 3))
        assert whole - long < 0.08 <= whole - short
