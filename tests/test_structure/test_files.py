"""One file, one purpose: what grows beyond about 300 lines is split."""

import pytest

from .source import ROOT, modules

ABOUT_300 = 330
# One table each, of which half would be of no use.
TABLES = {
    'registry_losses/config/compat.py': "what becomes of OpenMMLab's keys",
}


def paths():
    return [str(path.relative_to(ROOT)) for path in modules().values()]


@pytest.mark.parametrize('path', sorted(set(paths()) - set(TABLES)))
def test_no_file_over_about_300_lines(path):
    lines = len((ROOT / path).read_text(encoding='utf-8').splitlines())
    assert lines <= ABOUT_300, f'{path}: {lines} lines; split it by purpose'
