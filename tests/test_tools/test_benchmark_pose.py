"""The benchmark of bottom-up pose: sizes that no machine holds are refused at once."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / 'tools' / 'benchmark' / 'pose.py'


@pytest.mark.parametrize(
    ('value', 'message'),
    [
        ('1000000', 'expected at most 1000 persons an image, got 1000000: each takes 0.9 MB'),
        ('1001', 'expected at most 1000 persons an image, got 1001'),
        ('0', 'expected at least 1, got 0'),
        ('many', "expected a whole number, got 'many'"),
    ],
)
def test_a_number_of_persons_that_is_out_of_range_is_refused(value, message):
    words = [sys.executable, str(TOOL), '--persons', '1', value]
    ended = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 2
    assert f'argument --persons: {message}' in ' '.join(ended.stderr.split())
    assert not ended.stdout
