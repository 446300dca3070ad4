"""One file, one purpose: what grows beyond about 300 lines is split."""

import pytest

from .source import ROOT

ABOUT_300 = 330
# One table each, of which half would be of no use.
TABLES = {
    'tests/test_losses/cases.py': 'a row for every loss',
    'tools/compatibility/mmdet_matrix.py': 'the pairings with parts of mmdet',
}


@pytest.mark.parametrize('room', ['registry_losses', 'tools', 'configs', 'tests', 'projects'])
def test_no_file_over_about_300_lines(room):
    files = {str(path.relative_to(ROOT)): path for path in (ROOT / room).rglob('*.py')}
    lines = {
        name: len(path.read_text(encoding='utf-8').splitlines())
        for name, path in files.items()
        if name not in TABLES
    }
    # Tests of one part may be a little longer than a part.
    most = ABOUT_300 + 30 * (room == 'tests')
    too_long = {path: n for path, n in lines.items() if n > most}
    assert lines and not too_long, f'split by purpose: {too_long}'


@pytest.mark.parametrize('room', ['losses', 'assigners', 'heads'])
def test_every_file_of_parts_has_its_tests(room):
    """``losses/focal.py`` is tested in ``test_losses/test_focal.py``."""
    parts = [
        path.stem
        for path in sorted((ROOT / 'registry_losses' / room).glob('*.py'))
        if '@MODELS.register' in (text := path.read_text(encoding='utf-8'))
        or '@TASK_UTILS.register' in text
    ]
    tests = {path.stem.removeprefix('test_') for path in (ROOT / f'tests/test_{room}').glob('*.py')}
    assert len(parts) > 10 and not [part for part in parts if part not in tests]
