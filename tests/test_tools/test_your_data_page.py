"""What docs/your_data.md tells people to type is what the tools read."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from registry_losses.commands.new_config import SYSTEMS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / 'docs' / 'your_data.md').read_text(encoding='utf-8')
COMMANDS = re.findall(r'python (tools/(\w+)\.py[^\n`]*)', PAGE)


@pytest.mark.parametrize(('line', 'tool'), COMMANDS, ids=[tool for _, tool in COMMANDS])
def test_commands_are_read(line, tool):
    script, *words = shlex.split(line)
    assert (ROOT / script).is_file()
    parser = getattr(import_module(f'registry_losses.commands.{tool}'), f'{tool}_parser')()
    parser.parse_args(words)


def test_the_page_names_every_system():
    listed = PAGE.split('`--system` takes')[1].split(':')[0]
    assert set(re.findall(r'`(\w+)`', listed)) == set(SYSTEMS)
    assert len(COMMANDS) >= 10


def test_python_blocks_compile():
    blocks = re.findall(r'```python\n(.*?)```', PAGE, re.S)
    assert len(blocks) == 3
    for block in blocks:
        compile(block, 'your_data.md', 'exec')
