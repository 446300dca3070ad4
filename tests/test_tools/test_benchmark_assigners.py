"""The names that the assigners' benchmark prints are names that it takes."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / 'tools' / 'benchmark'


@pytest.fixture(scope='module')
def tool():
    sys.path.insert(0, str(FOLDER))
    try:
        spec = importlib.util.spec_from_file_location('bench_assigners', FOLDER / 'assigners.py')
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # its dataclasses look themselves up
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(FOLDER))


def test_names_of_the_readme(tool):
    text = (FOLDER / 'README.md').read_text()
    first = [line.split('|')[1].strip() for line in text.splitlines() if line.startswith('| ')]
    names = [
        name for name in first if re.match(r'(MaxIoU|ATSS|SimOTA|SSD|FCOS|YOLO|Task|Dyn)', name)
    ]
    assert len(set(names)) >= 8
    assert {tool.row_name(name) for name in names} <= {*tool.ROWS, 'million'}
    assert tool.row_name('SSD300') == 'SSD'
    assert tool.row_name('MaxIoU, one image, 1,003,500 anchors') == 'million'


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--rows', 'SSD400'], 'no row .SSD400.; nearest: SSD'),
        (['--gts', '0'], 'expected at least 1'),
        (['--device', 'nowhere'], "no device 'nowhere' here"),
    ],
)
def test_bad_command_lines(tool, arguments, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['assigners.py', *arguments])
    with pytest.raises(SystemExit) as end:
        tool.main()
    assert end.value.code == 2
    assert re.search(message, capsys.readouterr().err.splitlines()[-1])


@pytest.mark.slow
def test_a_row_by_its_printed_name():
    command = [sys.executable, FOLDER / 'assigners.py', '--rows', 'SSD300', '--gts', '1']
    done = subprocess.run(
        [*command, '--repeat', '1', '--no-formula'], capture_output=True, text=True, check=True
    )
    assert '| SSD' in done.stdout
