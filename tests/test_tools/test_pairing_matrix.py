"""tools/pairing_matrix.py: equal budgets, shares, resuming, and what it writes."""

import dataclasses
import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from registry_losses.commands import matrix_results, matrix_runs
from registry_losses.commands.matrix_config import Pairing, pairing_config, set_budget
from registry_losses.commands.matrix_results import Matrix, Result
from registry_losses.commands.matrix_runs import options_of, pairings, shard
from registry_losses.commands.pairing_matrix import pairing_matrix_main, pairing_matrix_parser
from registry_losses.commands.train import train_main
from registry_losses.config import load_config
from registry_losses.datasets import DigitsSpec, prepare_digits
from registry_losses.errors import ConfigError
from registry_losses.testing import forked

TOOL = Path(__file__).parents[2] / 'tools' / 'pairing_matrix.py'
SPEC = DigitsSpec(num_train=20, num_val=6)


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> str:
    """A data config: a few digits."""
    root = tmp_path_factory.mktemp('digits')
    prepare_digits(root / 'digits', SPEC)
    path = root / 'few_digits.py'
    base = TOOL.parents[1] / 'configs' / '_base_' / 'datasets' / 'digits_detection.py'
    few = f"dataset=dict(data_root='{root}/digits/', num_train=20, num_val=6)"
    evaluator = f"dict(ann_file='{root}/digits/annotations/val.json')"
    path.write_text(
        f"_base_ = ['{base}']\n"
        f'train_dataloader = dict(batch_size=4, {few})\n'
        f'val_dataloader = dict({few})\ntest_dataloader = dict({few})\n'
        f'val_evaluator = {evaluator}\ntest_evaluator = {evaluator}\n'
    )
    return str(path)


def rows(out: Path) -> list[Result]:
    return matrix_results.read(sorted(out.glob('results_*.csv')))


def test_overridden_keys_make_another_run(tmp_path):
    """They stand in the row and in its command, or the figures could not be had again."""
    words = ['--heads', 'retinanet', '--steps', '4', '--cfg-options', 'model.a.b=2', 'c.type=x y']
    args = pairing_matrix_parser().parse_args(words)
    assert options_of(args) == "c.type='x y' model.a.b=2"
    plain = pairing_matrix_parser().parse_args(words[:4])
    assert options_of(plain) == ''
    row = dict.fromkeys((f.name for f in dataclasses.fields(Result)), '')
    assert Result(**row).key != Result(**row | {'options': options_of(args)}).key


@pytest.fixture
def forks(monkeypatch):
    """Trainings as forks of this process, which has imported all they need."""
    run = subprocess.run

    def fork(words, **options):
        if words[:2] != [sys.executable, '-c']:
            return run(words, **options)
        _, _, _, config, _, folder = words
        (code,) = forked.train(Path(folder), main=train_main, config=config)
        return subprocess.CompletedProcess(words, code, '', forked.output(Path(folder)))

    monkeypatch.setattr(matrix_runs.subprocess, 'run', fork)


def test_a_matrix(data, tmp_path, capsys, forks):
    common = ['--heads', 'retinanet', '--losses', 'GIoULoss', 'DistributionFocalLoss']
    common += ['--steps', '4', '--data', data, '--out', str(tmp_path)]
    pairing_matrix_main(common)
    trained, refused = rows(tmp_path)
    assert (trained.status, trained.steps, trained.loss) == ('trained', 4, 'GIoULoss')
    assert 0 <= trained.AP <= trained.AP50 <= 1
    assert refused.status == 'refused' and 'bins' in refused.message
    assert trained.commit and trained.date and trained.machine
    assert trained.command.endswith("--losses 'GIoULoss' --seeds 0 --steps 4")
    page = (tmp_path / 'matrix.md').read_text()
    assert '| retinanet | ' in page and 'refused' in page and '2 of 2 runs' in page
    assert (tmp_path / 'matrix.png').stat().st_size > 5000
    capsys.readouterr()
    pairing_matrix_main(common)  # nothing is left to do
    assert capsys.readouterr().out == '' and len(rows(tmp_path)) == 2


@pytest.mark.slow
def test_a_killed_matrix_goes_on(data, tmp_path):
    """Killed in the middle of a training: the same figures as without."""
    words = [sys.executable, str(TOOL), '--heads', 'retinanet', '--assigners', 'config', 'ATSS']
    words += ['--steps', '16', '--data', data, '--cfg-options', 'default_hooks.logger.interval=1']
    env = dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=str(TOOL.parents[1]))
    whole, killed = tmp_path / 'whole', tmp_path / 'killed'
    subprocess.run([*words, '--out', str(whole)], env=env, check=True, timeout=300)
    process = subprocess.Popen([*words, '--out', str(killed)], env=env, start_new_session=True)
    deadline = time.time() + 120
    while not list(killed.glob('runs/*/iter_8.pth')) and time.time() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGTERM)  # the tool alone: its training stops with it
    assert process.wait(timeout=60) == 128 + signal.SIGTERM
    assert subprocess.run(['pgrep', '-f', str(killed)], check=False).returncode == 1
    assert rows(killed) == []
    subprocess.run([*words, '--out', str(killed)], env=env, check=True, timeout=300)
    figures = [[(r.assigner, r.AP, r.AP50, r.AP75) for r in rows(out)] for out in (whole, killed)]
    assert figures[0] == figures[1] and len(figures[0]) == 2


def test_shares_are_whole_and_disjoint():
    words = ['--heads', 'a', 'b', '--assigners', 'X', 'Y', 'Z', '--seeds', '0', '1', '--steps', '1']
    cells = pairings(pairing_matrix_parser().parse_args(words))
    assert len(set(cells)) == 12 and {c.seed for c in cells[:6]} == {0}
    shares = [shard(cells, f'{i}/5') for i in range(1, 6)]
    assert sorted(itertools.chain(*shares), key=cells.index) == cells
    for wrong in ('0/2', '3/2', 'x', '1'):
        with pytest.raises(ConfigError, match='--shard'):
            shard(cells, wrong)


@pytest.mark.parametrize('head', ['ssd', 'yolov5'])
def test_the_cell_changes_one_part(head):
    cfg = pairing_config(Pairing(head, 'ATSS', 'GIoULoss', seed=3), steps=10)
    own = pairing_config(Pairing(head), steps=10)
    assert cfg.model.train_cfg.assigner.to_dict() == dict(type='ATSSAssigner')
    assert cfg.model.bbox_head.loss_bbox.type == 'GIoULoss'
    weight = own.model.bbox_head.loss_bbox.get('loss_weight')
    assert cfg.model.bbox_head.loss_bbox.get('loss_weight') == weight
    assert cfg.randomness.seed == 3
    changed, kept = cfg.to_dict(), own.to_dict()
    for whole in (changed, kept):
        del whole['randomness'], whole['model']['train_cfg']['assigner']
        del whole['model']['bbox_head']['loss_bbox']
    assert changed == kept


def test_the_schedule_is_stretched_to_the_budget():
    cfg = load_config('registry_losses::retinanet/retinanet_tiny_digits.py', check=False)
    set_budget(cfg, 600)
    warm, cosine = cfg.param_scheduler
    assert (warm.begin, warm.end) == (0, 60)
    assert (cosine.begin, cosine.end) == (60, 600)
    assert cfg.train_cfg.max_iters == 600


def test_a_schedule_of_epochs_becomes_one_of_steps():
    cfg = load_config('registry_losses::retinanet/retinanet_r50_fpn_coco.py', check=False)
    set_budget(cfg, 1200)
    warm, steps = cfg.param_scheduler
    assert (warm.by_epoch, warm.end) == (False, 120)
    assert (steps.by_epoch, steps.milestones) == (False, [800, 1100])


def test_unknown_names_are_refused():
    for pairing, word in (
        (Pairing('retinanett'), 'retinanet'),
        (Pairing('retinanet', 'ATTS'), 'ATSS'),
    ):
        with pytest.raises(ConfigError, match=word):
            pairing_config(pairing, steps=1)
    with pytest.raises(ConfigError, match='no part reads this key'):
        pairing_config(Pairing('retinanet'), steps=1, options=dict(modl=1))


def result(head, column, seed, ap, status='trained') -> Result:
    return Result(
        head, column, 'config', seed, '9 steps', 9, status, ap, ap, ap, 1.0, 'abc', '2026-01-01',
        'here', 'command', 'a, "quoted"\nmessage',
    )  # fmt: skip


def test_rows_survive_a_torn_line(tmp_path):
    path = tmp_path / 'results_1of1.csv'
    kept = [result('ssd', 'ATSS', 0, 0.5), result('ssd', 'OTA', 0, 0.25)]
    for row in kept:
        matrix_results.append(path, row)
    whole = path.read_bytes()
    matrix_results.append(path, result('ssd', 'FCOS', 0, 0.1))
    path.write_bytes(whole + path.read_bytes()[len(whole) :][:20])
    assert matrix_results.read([path]) == kept


def test_the_table_states_mean_and_spread(tmp_path):
    cells = [
        result('ssd', 'ATSS', 0, 0.5),
        result('ssd', 'ATSS', 1, 0.6),
        result('ssd', 'OTA', 0, float('nan'), 'refused'),
        result('fcos', 'ATSS', 0, 0.7),
    ]
    matrix = Matrix.of(cells, lambda row: row.assigner)
    assert matrix_results.markdown(matrix).splitlines() == [
        '| head | ATSS | OTA |',
        '|---|---|---|',
        '| ssd | **0.550 ± 0.050** | refused |',
        '| fcos | **0.700** |  |',
    ]
    assert matrix_results.draw(matrix, tmp_path / 'm.png').stat().st_size > 5000
