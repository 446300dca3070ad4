"""The command lines: what each option does to the config, and how a mistake looks."""

import argparse
import importlib
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

from registry_losses.commands import cli, completion, train
from registry_losses.commands import test as evaluate
from registry_losses.engine.distributed import LAUNCHERS
from registry_losses.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
TOY = ROOT / 'tests' / 'test_engine' / 'toy_config.py'


@pytest.fixture(autouse=True)
def toy_project(monkeypatch):
    monkeypatch.syspath_prepend(str(TOY.parent))


def config(*arguments):
    return train.train_config(train.train_parser().parse_args([str(TOY), *map(str, arguments)]))


def test_defaults():
    cfg = config()
    assert cfg.work_dir == str(Path('work_dirs/toy_config'))
    assert cfg.launcher == 'none'
    assert not cfg.get('resume')


def test_work_dir_and_options(tmp_path):
    cfg = config(
        '--work-dir', tmp_path, '--cfg-options', 'train_cfg.max_epochs=7', 'randomness.seed=9'
    )
    assert cfg.work_dir == str(tmp_path)
    assert (cfg.train_cfg.max_epochs, cfg.randomness.seed) == (7, 9)


def test_amp():
    assert config('--amp').optim_wrapper.type == 'AmpOptimWrapper'
    with pytest.raises(ConfigError, match=r'--amp: optim_wrapper\.type is CPUAmpOptimWrapper'):
        config('--amp', '--cfg-options', 'optim_wrapper.type=CPUAmpOptimWrapper')


def test_auto_scale_lr():
    cfg = config('--auto-scale-lr')
    assert cfg.auto_scale_lr.enable
    with pytest.raises(ConfigError, match='base_batch_size'):
        config('--auto-scale-lr', '--cfg-options', 'auto_scale_lr=None')


@pytest.mark.parametrize(
    ('launcher', 'env'),
    [
        ('pytorch', dict(TORCHELASTIC_RUN_ID='x', WORLD_SIZE='2')),
        ('slurm', dict(SLURM_STEP_NUM_TASKS='2')),
        ('mpi', dict(OMPI_COMM_WORLD_SIZE='2')),
    ],
)
def test_several_processes_without_launcher_end_at_once(
    launcher, env, tmp_path, monkeypatch, capsys
):
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    for main, more in ((train.train_main, []), (evaluate.test_main, ['a.pth'])):
        with pytest.raises(SystemExit) as end:
            main([str(TOY), *more, '--work-dir', str(tmp_path / 'run')])
        assert end.value.code == 1
        error = capsys.readouterr().err
        assert f'add --launcher {launcher}' in error and 'Traceback' not in error
        assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('argument', [['--resume'], ['--resume', 'auto']])
def test_resume_auto(argument):
    cfg = config(*argument)
    assert cfg.resume
    assert cfg.load_from is None


def test_resume_path(tmp_path):
    (tmp_path / 'a.pth').touch()
    assert config('--resume', tmp_path / 'a.pth').load_from == str(tmp_path / 'a.pth')
    with pytest.raises(ConfigError, match=r'no such file .*b\.pth'):
        config('--resume', tmp_path / 'b.pth')


def test_train_then_test_in_mixed_precision_with_a_scaled_rate(tmp_path, capsys):
    """The whole way: train, then evaluate the checkpoint and write the predictions."""
    work_dir, out = tmp_path / 'run', tmp_path / 'out' / 'predictions.pkl'
    train.train_main(
        [str(TOY), '--work-dir', str(work_dir), '--amp', '--auto-scale-lr', '--cfg-options']
        + ['train_dataloader.batch_size=8', 'train_cfg.max_epochs=2', 'experiment_name=cli']
        + ['param_scheduler=None', "custom_hooks=[dict(type='NonFiniteLossHook')]"]
    )
    text = capsys.readouterr().out
    assert 'Scaling the original LR by 2.0' in text
    assert 'lr: 2.0000e-02' in text
    checkpoint = work_dir / 'epoch_2.pth'
    evaluate.test_main(
        [str(TOY), str(checkpoint), '--work-dir', str(tmp_path / 'test'), '--out', str(out)]
        + ['--cfg-options', 'experiment_name=clitest', 'custom_hooks=None']
    )
    text = capsys.readouterr().out
    assert 'toy/mAP' in text
    with open(out, 'rb') as file:
        predictions = pickle.load(file)
    assert len(predictions) == 24
    assert 'output' in predictions[0]


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['nowhere.py', 'a.pth'], "no config file 'nowhere.py'"),
        ([str(TOY), 'nowhere.pth'], "checkpoint: no such file 'nowhere.pth'"),
        ([str(TOY), str(TOY), '--out', 'a.json'], '--out: expected a name that ends in .pkl'),
        (
            [str(TOY), str(TOY), '--cfg-options', 'test_evaluator=None'],
            'testing needs test_evaluator',
        ),
        ([str(TOY), str(TOY), '--cfg-options', 'modl.x=1'], 'Nearest: model'),
    ],
)
def test_mistakes_are_one_message_without_a_traceback(arguments, message, capsys):
    with pytest.raises(SystemExit) as end:
        evaluate.test_main(arguments)
    assert end.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith('ConfigError: ')
    assert message in error
    assert 'Traceback' not in error


def test_the_traceback_on_demand(monkeypatch):
    monkeypatch.setenv(cli.TRACEBACK, '1')
    with pytest.raises(ConfigError):
        train.train_main(['nowhere.py'])


def test_a_checkpoint_of_another_model_or_a_broken_one(tmp_path, capsys):
    (tmp_path / 'broken.pth').write_bytes(b'PK\x03\x04 not the rest')
    with pytest.raises(SystemExit):
        evaluate.test_main(
            [str(TOY), str(tmp_path / 'broken.pth'), '--work-dir', str(tmp_path)]
            + ['--cfg-options', 'experiment_name=broken']
        )
    assert 'CheckpointError' in capsys.readouterr().err


@pytest.mark.parametrize('name', ['dist_train.sh', 'dist_test.sh', 'slurm_train.sh'])
def test_scripts_parse_and_say_how_to_use_them(name):
    script = ROOT / 'tools' / name
    done = subprocess.run(['bash', str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith('usage: ')


def test_slurm_script_builds_the_command(tmp_path):
    fake = tmp_path / 'srun'
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    fake.chmod(0o755)
    done = subprocess.run(
        ['bash', str(ROOT / 'tools' / 'slurm_train.sh'), 'part', 'job', 'c.py', '--amp'],
        env={'PATH': f'{tmp_path}:/usr/bin:/bin', 'GPUS': '4', 'GPUS_PER_NODE': '0'},
        capture_output=True,
        text=True,
        check=True,
    )
    words = done.stdout.split()
    assert '--ntasks=4' in words
    assert not [w for w in words if w.startswith('--gres')]
    assert words[-4:] == ['c.py', '--launcher', 'slurm', '--amp']


def test_dist_script_builds_the_command(tmp_path):
    """A real run of it is long: see test_retinanet_digits.py."""
    fake = tmp_path / 'python'
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    fake.chmod(0o755)
    done = subprocess.run(
        ['bash', str(ROOT / 'tools' / 'dist_train.sh'), 'c.py', '2', '--amp'],
        env={'PATH': '/usr/bin:/bin', 'PYTHON': str(fake)},
        capture_output=True,
        text=True,
        check=True,
    )
    words = done.stdout.split()
    assert words[:3] == ['-m', 'torch.distributed.run', '--standalone']
    assert {'--nnodes=1', '--nproc-per-node=2', '--max-restarts=0'} <= set(words)
    assert words[-5:] == [str(ROOT / 'tools/train.py'), 'c.py', '--launcher', 'pytorch', '--amp']


TOOLS = sorted(p.stem for p in (ROOT / 'tools').glob('*.py'))


@pytest.mark.parametrize('tool', TOOLS)
def test_a_tool_its_module_and_its_functions_bear_one_name(tool):
    module = importlib.import_module(f'registry_losses.commands.{tool}')
    for name in (tool, f'{tool}_main', f'{tool}_parser'):
        assert callable(getattr(module, name))
    entry = f'registry-losses-{tool.replace("_", "-")} = {module.__name__}:{tool}_main\n'
    assert entry in (ROOT / 'setup.cfg').read_text()


@pytest.mark.parametrize('tool', TOOLS)
def test_help_answers_without_loading_torch(tool):
    """What a tool imports is what it takes: seconds for PyTorch, a tenth without."""
    command = [sys.executable, '-X', 'importtime', str(ROOT / 'tools' / f'{tool}.py'), '--help']
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f'usage: {tool}.py')
    assert not re.search(r'\| +(torch|mmengine|mmcv|rich|numpy)$', done.stderr, re.MULTILINE)


@pytest.mark.parametrize('tool', TOOLS)
def test_bad_words_get_one_line(tool, capsys):
    parser = getattr(importlib.import_module(f'registry_losses.commands.{tool}'), f'{tool}_parser')
    for words in (['--nonsense'], ['--nonsense=3', 'x', 'y', 'z', '--out', 'o'], ['--seed', 'x']):
        with pytest.raises(SystemExit) as end:
            parser().parse_args(words)
        error = capsys.readouterr().err
        assert end.value.code == 2 and error.splitlines()[-1].count('error: ') == 1
        assert 'Traceback' not in error


@pytest.mark.parametrize(
    ('parse', 'words'),
    [
        (cli.positive_int, ['0', 'x', '1.5']),
        (cli.whole_number, ['-1', 'x', '4294967296']),
        (cli.share, ['-0.1', '1.1', 'nan', 'x']),
        (cli.positive_number, ['0', 'inf', 'nan', 'x']),
    ],
)
def test_numbers_of_command_lines(parse, words):
    assert parse('1') == 1
    for word in words:
        with pytest.raises(argparse.ArgumentTypeError, match='expected'):
            parse(word)


def test_launchers_are_those_of_the_engine():
    assert cli.LAUNCHERS == LAUNCHERS


def test_mmcv_that_is_missing_is_named_in_both_forms(tmp_path):
    (tmp_path / 'mmcv.py').write_text('raise ImportError("not here")')
    code = f'import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]; import registry_losses'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert 'pip install mmcv-lite' in done.stderr
    assert 'pip install mmcv`' in done.stderr
    (tmp_path / 'mmcv.py').write_text('__version__ = "1.7.0"')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert "Found version '1.7.0'" in done.stderr


def test_completion_knows_every_tool_and_completes(tmp_path):
    """In bash itself: options, choices and files of two commands."""
    pytest.importorskip('shtab', reason='pip install shtab')
    assert tuple(TOOLS) == completion.TOOLS
    script = tmp_path / 'completion.bash'
    script.write_text(completion.completion_script('bash'))
    (tmp_path / 'my_config.py').touch()

    def completed(*words):
        name = f'registry-losses-{words[0]}'
        asked = ' '.join(f"'{word}'" for word in (name, *words[1:]))
        code = f"""
            source {script}
            COMP_WORDS=({asked}); COMP_CWORD={len(words) - 1}
            $(complete -p {name} | sed 's/.*-F \\([^ ]*\\).*/\\1/') {name}
            printf '%s\\n' "${{COMPREPLY[@]}}"
        """
        done = subprocess.run(['bash', '-c', code], cwd=tmp_path, capture_output=True, text=True)
        return done.stdout.split()

    assert completed('train', '--re') == ['--resume']
    assert set(completed('train', 'c.py', '--launcher', 's')) == {'slurm'}
    assert 'my_config.py' in completed('train', 'my')
    assert set(completed('new-config', '--system', 'yolov')) == {'yolov3', 'yolov4', 'yolov5'}


def test_completion_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'shtab', None)
    with pytest.raises(SystemExit):
        completion.completion_main(['bash'])
    assert "pip install 'registry_losses[completion]'" in capsys.readouterr().err
