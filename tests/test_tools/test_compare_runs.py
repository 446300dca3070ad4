"""tools/compare_runs.py on logs written for the test."""

import json

import numpy as np
import pytest

from registry_losses.commands.compare_runs import compare_runs_main
from registry_losses.visualization import read_run


def write_run(folder, figures, pace=0.5):
    """A log of 100 steps a validation."""
    lines = []
    for i, (ap, ap50) in enumerate(figures, start=1):
        for step in (100 * i - 50, 100 * i):
            lines.append({'lr': 0.1, 'loss': 1.0, 'time': pace, 'iter': step, 'step': step})
        lines.append({'coco/bbox_mAP': ap, 'coco/bbox_mAP_50': ap50, 'step': 100 * i})
    path = folder / '20260101_000000' / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text('\n'.join(json.dumps(line) for line in lines))
    return folder


def test_summary(tmp_path):
    run = read_run(write_run(tmp_path / 'a', [(0.2, 0.4), (0.5, 0.8), (0.4, 0.9)]))
    assert (run.name, run.best_step, run.steps) == ('a', 200, 300)
    assert run.at_best('coco/bbox_mAP_50') == 0.8 and np.isnan(run.at_best('coco/bbox_mAP_75'))
    assert run.minutes == pytest.approx(300 * 0.5 / 60)


def test_table_and_picture(tmp_path, capsys):
    worse = write_run(tmp_path / 'worse', [(0.1, 0.7), (0.3, 0.6)])
    better = write_run(tmp_path / 'better', [(0.4, 0.5)], pace=1.2)
    picture = tmp_path / 'new' / 'curves.png'
    compare_runs_main([str(worse), str(better), '--out', str(picture)])
    rows = capsys.readouterr().out.splitlines()
    assert rows[0] == '| run | AP | AP50 | AP75 | best at step | steps | minutes |'
    assert rows[2] == '| better | 0.400 | 0.500 |  | 100 | 100 | 2.0 |'
    assert rows[3] == '| worse | 0.300 | 0.600 |  | 200 | 200 | 1.7 |'
    assert picture.read_bytes().startswith(b'\x89PNG')
    compare_runs_main([str(worse), str(better), '--metric', 'coco/bbox_mAP_50'])
    assert capsys.readouterr().out.splitlines()[2].startswith('| worse | 0.100 | 0.700 |')


def test_a_folder_without_a_run_among_runs_is_left_out(tmp_path, capsys):
    run = write_run(tmp_path / 'a', [(0.1, 0.7)])
    (tmp_path / 'assignments').mkdir()
    compare_runs_main([str(run), str(tmp_path / 'assignments')])
    shown = capsys.readouterr()
    assert '| a | 0.100' in shown.out and 'assignments: no run of tools/train.py' in shown.err


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['{}/none'], 'no run of tools/train.py'),
        (['{}/a', '--metric', 'voc/mAP'], 'voc/mAP was never measured; there is coco/bbox_mAP'),
        (['{}/a', '--out', 'x.jpg'], "ends in .png, got 'x.jpg'"),
    ],
)
def test_errors(tmp_path, capsys, arguments, message):
    write_run(tmp_path / 'a', [(0.1, 0.2)])
    with pytest.raises(SystemExit):
        compare_runs_main([a.format(tmp_path) for a in arguments])
    assert message in capsys.readouterr().err


def test_runs_of_persons_are_ranked_by_their_similarity(tmp_path, capsys):
    folders = []
    for name, ap in (('worse', 0.2), ('better', 0.5)):
        folder = write_run(tmp_path / name, [(ap, 0.8)])
        log = next(folder.glob('*/vis_data/scalars.json'))
        log.write_text(log.read_text().replace('bbox', 'keypoints'))
        folders.append(str(folder))
    compare_runs_main(folders)
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].startswith('| run | AP | AP50 |')
    assert rows[2].startswith('| better | 0.500 | 0.800 |') and rows[3].startswith('| worse |')
