"""A share of ``make fuzz`` (see ``run.py``): damaged input ends well."""

import pytest

from .run import fuzz
from .targets import TARGETS


@pytest.mark.parametrize('target', list(TARGETS))
def test_damaged_input_ends_well(target, tmp_path, capsys):
    # A seed of its own, so that `make fuzz` tries others.
    assert fuzz([target], cases=12, seed=77, work=tmp_path) == 0, capsys.readouterr().out
