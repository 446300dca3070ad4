"""The benchmark of the losses: what it compares is one loss, and its table is whole."""

import argparse
import sys
from pathlib import Path

import pytest
import torch

TOOL = Path(__file__).parents[2] / 'tools' / 'benchmark' / 'losses.py'


@pytest.fixture(scope='module')
def bench():
    sys.path.insert(0, str(TOOL.parent))
    try:
        import importlib.util

        spec = importlib.util.spec_from_file_location('benchmark_losses', TOOL)
        module = importlib.util.module_from_spec(spec)
        sys.modules['benchmark_losses'] = module
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(TOOL.parent))
        sys.modules.pop('benchmark_losses', None)


@pytest.mark.parametrize(
    'words',
    [
        ['--losses', 'Nope'],
        ['--sizes', '0x3'],
        ['--sizes', 'x'],
        ['--threads', '0'],
        ['--seconds', 'nan'],
        ['--cold-repeat', '-1'],
        ['--device', 'nowhere'],
    ],
)
def test_bad_command_lines(bench, words, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['losses.py', *words])
    with pytest.raises(SystemExit) as end:
        bench.main()
    assert end.value.code == 2
    assert words[0] in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize('name', ['focal', 'bce', 'qfl', 'vfl', 'gaussian'])
def test_ours_and_the_formula_are_one_loss(bench, name):
    problem = bench.Problem.of_size(1000, 7, torch.device('cpu'), torch.float32)
    row = bench.ROWS[name]
    (mine,), (theirs,) = bench.ours(row, problem, False)(), bench.formula(row, problem)()
    # The formulas lose digits in log(1 - p).
    torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-6)


def test_sizes(bench):
    assert [bench.read_size(s) for s in ('8kx80', '1Mx80', '12x3')] == [
        (8000, 80),
        (1_000_000, 80),
        (12, 3),
    ]
    with pytest.raises(argparse.ArgumentTypeError, match='100kx80'):
        bench.read_size('80')


@pytest.mark.parametrize('cold', [0, 1])
def test_the_table(bench, cold, monkeypatch, capsys):
    words = ['--sizes', '200x5', '--losses', 'focal', 'qfl', '--cold-repeat', str(cold)]
    words += ['--seconds', '0.001', '--repeat', '1', '--no-compile', '--peers', 'no_such_package']
    monkeypatch.setattr(sys, 'argv', ['losses.py', *words])
    # Not gigabytes to turn out of the caches: the figures are not looked at.
    monkeypatch.setattr(sys.modules[bench.flusher.__module__], 'FLUSH_BYTES', 2**20)
    monkeypatch.setattr(sys.modules[bench.flusher.__module__], 'PASS_FLOATS', 2**16)
    bench.main()
    done = capsys.readouterr()
    lines = [line for line in done.out.splitlines() if line.startswith('|')]
    assert len(lines) == 2 + 2 * 3
    assert all(line.count('|') == 11 for line in lines)
    assert ('nan' in done.out) == (cold == 0)
    assert 'one-hot formula' in done.out and 'one read and write' in done.out
    assert 'no_such_package: not measured' in done.err
