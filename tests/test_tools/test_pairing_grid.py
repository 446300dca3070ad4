"""tools/pairing_grid.py: resuming, the page and the picture."""

import json

import pytest

from registry_losses.commands import grid_runs
from registry_losses.commands.grid_page import draw_grid, grid_page, summary
from registry_losses.commands.pairing_grid import pairing_grid_main
from registry_losses.testing.pairings import Cell, CellResult

CELLS = {
    Cell('retinanet', 'assigner', 'ATSSAssigner'): CellResult('trains', positives=[3, 4]),
    Cell('retinanet', 'sampler', 'PseudoSampler'): CellResult('trains'),
    Cell('retinanet', 'loss_cls', 'L1Loss'): CellResult('refused', 'kind', 'loss_cls: ...'),
    Cell('retinanet', 'loss_cls', 'FocalLoss'): CellResult('trains'),
    Cell('retinanet', 'loss_bbox', 'L1Loss'): CellResult('failed', message='NaN'),
    Cell('yolov3', 'loss_xy', 'L1Loss'): CellResult('trains'),
}


def test_page_and_picture(tmp_path):
    picture = draw_grid(CELLS, tmp_path / 'images' / 'grid.png')
    page = grid_page(CELLS, tmp_path / 'grid.md', picture)
    assert summary(CELLS) == '6 cells: 4 train, 1 are refused (1 kind), 1 fail'
    assert '](images/grid.png)' in page and summary(CELLS) in page
    assert '| `ATSSAssigner` | + |' in page and '| `FocalLoss` | + |' in page
    assert '| `L1Loss` | ! |' in page and '| yolov3, `loss_xy` | 1 | L1Loss |' in page
    assert picture.stat().st_size > 5000


def test_it_goes_on_where_it_was_stopped(tmp_path, monkeypatch, capsys):
    ran = []

    def one(cell):
        ran.append(cell)
        return cell, CellResult('trains')

    monkeypatch.setattr(grid_runs, '_one', one)
    words = ['--sample', '6', '--jobs', '1', '--out', str(tmp_path)]
    pairing_grid_main(words)
    assert len(ran) == 6 and '6 cells: 6 train' in capsys.readouterr().out
    log = tmp_path / 'cells.jsonl'
    lines = log.read_text().splitlines()
    log.write_text('\n'.join([*lines[:4], lines[4][:20]]) + '\n')  # killed while it wrote
    pairing_grid_main(words)
    assert sorted(ran[6:]) == sorted(ran[4:6])
    monkeypatch.setattr(grid_runs, 'source_digest', lambda: 'changed')
    pairing_grid_main(words)
    assert len(ran) == 6 + 2 + 6, 'another source: everything anew'
    assert {json.loads(line)[0] for line in log.read_text().splitlines()} == {'changed'}
    monkeypatch.setattr(grid_runs, 'source_digest', lambda: 'changed again')
    pairing_grid_main([*words, '--keep-old'])
    assert len(ran) == 6 + 2 + 6
    page = (tmp_path / 'pairing_grid.md').read_text()
    assert f'({len(CELLS)} cells)' in page and grid_runs.commit() in page


def test_a_cell_that_neither_trains_nor_is_refused_fails_the_run(tmp_path, monkeypatch, capsys):
    def broken(cell):
        raise ZeroDivisionError('by zero')

    monkeypatch.setattr(grid_runs, 'run_cell', broken)
    with pytest.raises(SystemExit):
        pairing_grid_main(['--sample', '2', '--jobs', '1', '--out', str(tmp_path)])
    assert 'ZeroDivisionError: by zero' in capsys.readouterr().out


def test_unknown_heads_are_named(tmp_path, capsys):
    with pytest.raises(SystemExit):
        pairing_grid_main(['--heads', 'retinanett', '--out', str(tmp_path)])
    assert 'retinanett' in capsys.readouterr().err
