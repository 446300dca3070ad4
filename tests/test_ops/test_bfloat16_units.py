"""Whether a CPU has bfloat16 units, by what Linux lists."""

import pytest

from registry_losses.ops.device import has_bfloat16_units


@pytest.mark.parametrize(
    'text, expected',
    [
        ('processor\t: 0\nflags\t\t: fpu avx2 avx512f\n', False),
        ('processor\t: 0\nflags\t\t: fpu avx512f avx512_bf16\n', True),
        ('processor\t: 0\nFeatures\t: fp asimd bf16 i8mm\n', True),
        ('processor\t: 0\nFeatures\t: fp asimd\n', False),
        ('processor\t: 0\n', None),
    ],
)
def test_the_units_are_those_that_the_system_lists(tmp_path, text, expected):
    (tmp_path / 'cpuinfo').write_text(text)
    assert has_bfloat16_units(tmp_path / 'cpuinfo') is expected


def test_without_a_list_nothing_is_known(tmp_path):
    assert has_bfloat16_units(tmp_path / 'missing') is None
