"""Trains the cells of a pairing matrix under equal budgets and writes what came of them."""

from __future__ import annotations

import argparse
import datetime
import itertools
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config

from .. import __version__
from ..config import TOP_LEVEL_KEYS
from ..errors import ConfigError, DataError, PairingError
from ..registry import MODELS
from ..visualization import find_logs, read_run, read_scalars
from .matrix_config import Pairing, pairing_config
from .matrix_results import FAILED, REFUSED, TRAINED, Matrix, Result, append, draw, markdown, read

_TRAIN = (
    'import sys; from registry_losses.commands.train import train_main; train_main(sys.argv[1:])'
)
_TIMED_STEPS = 40


def pairings(args: argparse.Namespace) -> list[Pairing]:
    """The cells of the matrix; all of the first seed come first."""
    cells = itertools.product(args.seeds, args.losses, args.assigners, args.heads)
    return [Pairing(head, assigner, loss, seed) for seed, loss, assigner, head in cells]


def shard(cells: Sequence[Pairing], text: str) -> list[Pairing]:
    """The share ``i/n`` of the cells, taken in turn.

    Raises:
        ConfigError: If it is no such share.
    """
    index, _, count = text.partition('/')
    if not (index.isdigit() and count.isdigit() and 1 <= int(index) <= int(count)):
        raise ConfigError(f'--shard: expected i/n with 1 <= i <= n, got {text!r}')
    return list(cells[int(index) - 1 :: int(count)])


def budget_of(args: argparse.Namespace) -> str:
    """The budget, for people and as part of what makes two runs the same."""
    return f'{args.steps} steps' if args.steps else f'{args.minutes:g} minutes'


def options_of(args: argparse.Namespace) -> str:
    """The overridden config keys as the command line takes them; part of what makes a run."""
    given = sorted((args.cfg_options or {}).items())
    return ' '.join(f'{key}={shlex.quote(str(value))}' for key, value in given)


def run_matrix(args: argparse.Namespace) -> None:
    """Train what is missing of the share, then write page and picture of all shares."""
    out = Path(args.out)
    mine = shard(pairings(args), args.shard)
    own_file = out / f'results_{args.shard.replace("/", "of")}.csv'
    done = {r.key for r in _results(out) if r.status != FAILED}
    # A matrix that is told to stop takes its training with it, which goes on next time.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    for number, cell in enumerate([] if args.report else mine, 1):
        key = (cell.head, cell.assigner, cell.loss, cell.seed, budget_of(args), options_of(args))
        if key in done:
            continue
        print(f'[{number}/{len(mine)}] {cell.row}, {cell.column}, seed {cell.seed}', flush=True)
        result = run_cell(cell, args, out)
        append(own_file, result)
        told = f'AP {result.AP:.3f}' if result.status == TRAINED else result.status
        print(f'    {told} {result.message[:200]}', flush=True)
        write_report(args)
    write_report(args)


def run_cell(cell: Pairing, args: argparse.Namespace, out: Path) -> Result:
    """Train one cell, or go on with it."""
    command = f'python tools/pairing_matrix.py {cell.arguments()} '
    command += f'--steps {args.steps}' if args.steps else f'--minutes {args.minutes:g}'
    options = options_of(args)
    command += f' --cfg-options {options}' if options else ''
    made: dict[str, Any] = dict(
        head=cell.head, assigner=cell.assigner, loss=cell.loss, seed=cell.seed,
        budget=budget_of(args), commit=commit(), date=datetime.date.today().isoformat(),
        machine=_machine(args.threads),
        command=command, options=options,
    )  # fmt: skip
    nothing: dict[str, Any] = dict(AP=np.nan, AP50=np.nan, AP75=np.nan, minutes=np.nan, steps=0)
    name = f'{cell.row}-{cell.column}-{budget_of(args)}-seed{cell.seed}'
    # One folder for each set of options, named by their checksum: they are long.
    name += f'-{zlib.crc32(options.encode()):08x}' if options else ''
    folder = out / 'runs' / _safe(name)
    try:
        steps = args.steps or timed_steps(cell, args, folder)
        cfg = _config(cell, args, steps)
        MODELS.build(cfg.model.to_dict())
    except PairingError as error:
        return Result(**made, **nothing, status=REFUSED, message=str(error))
    done = _train(cfg, folder, args.threads)
    try:
        run = read_run(folder)
    except DataError:
        run = None
    if done.returncode or run is None:
        message = ' '.join(done.stderr.strip().splitlines()[-3:])[-500:]
        return Result(**made, **nothing, status=FAILED, message=message)
    if not args.keep:
        for path in folder.glob('*.pth'):
            path.unlink()
    figures: dict[str, Any] = {
        name: float(run.series[f'coco/bbox_{k}'][-1, 1]) for name, k in _FIGURES.items()
    }
    return Result(**made, **figures, steps=steps, minutes=run.minutes, status=TRAINED)


_FIGURES = {'AP': 'mAP', 'AP50': 'mAP_50', 'AP75': 'mAP_75'}


def timed_steps(cell: Pairing, args: argparse.Namespace, folder: Path) -> int:
    """How many steps the minutes of the budget hold, at the pace of the first few.

    Written down beside the run, so that one that goes on keeps its schedule.
    """
    note = folder / 'steps.txt'
    if note.is_file():
        return int(note.read_text(encoding='utf-8'))
    cfg = _config(cell, args, _TIMED_STEPS)
    cfg.train_cfg.val_interval = _TIMED_STEPS + 1
    cfg.default_hooks.logger = dict(type='LoggerHook', interval=_TIMED_STEPS // 4)
    trial = folder / 'timing'
    MODELS.build(cfg.model.to_dict())
    done = _train(cfg, trial, args.threads)
    train = read_scalars(find_logs(trial))[0] if find_logs(trial) else {}
    if done.returncode or 'time' not in train:
        raise ConfigError(f'{trial}: {_TIMED_STEPS} steps did not run: {done.stderr[-500:]}')
    pace = float(np.median(train['time'][1:, 1]))
    steps = max(round(args.minutes * 60 / pace), 1)
    note.write_text(str(steps), encoding='utf-8')
    shutil.rmtree(trial)
    return steps


def _config(cell: Pairing, args: argparse.Namespace, steps: int) -> Config:
    return pairing_config(
        cell, steps=steps, data=args.data, num_classes=args.num_classes, options=args.cfg_options
    )


def _train(cfg: Config, folder: Path, threads: int) -> subprocess.CompletedProcess[str]:
    """Train in a process of its own, from the newest checkpoint where there is one."""
    folder.mkdir(parents=True, exist_ok=True)
    # Other names are helpers of the files that this config came from.
    plain = {k: v for k, v in cfg.to_dict().items() if k in TOP_LEVEL_KEYS}
    Config(plain).dump(str(folder / 'pairing.py'))
    words = [sys.executable, '-c', _TRAIN, str(folder / 'pairing.py'), '--work-dir', str(folder)]
    words += ['--resume'] if any(folder.glob('*.pth')) else []
    env = dict(os.environ, OMP_NUM_THREADS=str(threads))
    with (folder / 'output.txt').open('a', encoding='utf-8') as log:
        return subprocess.run(
            words, env=env, stdout=log, stderr=subprocess.PIPE, text=True, check=False
        )


def _results(out: Path) -> list[Result]:
    return read(sorted(out.glob('results_*.csv')))


def write_report(args: argparse.Namespace) -> None:
    """The table and the heat map of what has been found so far, by all shards."""
    out = Path(args.out)
    common = budget_of(args), options_of(args)
    wanted = {(c.head, c.assigner, c.loss, c.seed, *common): c for c in pairings(args)}
    results = {result.key: result for result in _results(out)}
    chosen = [results[key] for key in wanted if key in results]
    if not chosen:
        return
    matrix = Matrix.of(chosen, lambda result: wanted[result.key].column)
    page = Path(args.page or out / 'matrix.md')
    picture = draw(matrix, args.picture or out / 'matrix.png', title=args.title)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(_page(args, matrix, chosen, len(wanted), page, picture), encoding='utf-8')


def _page(args, matrix: Matrix, chosen: list[Result], count: int, page: Path, picture: Path) -> str:
    dates, commits = sorted({r.date for r in chosen}), sorted({r.commit for r in chosen})
    trained = [r for r in chosen if r.status == TRAINED]
    refused = [f'- {r.head}, {r.assigner}: {r.message}' for r in chosen if r.status == REFUSED]
    options = f', `{options_of(args)}`' if options_of(args) else ''
    link = os.path.relpath(picture, page.parent).replace(os.sep, '/')
    return '\n'.join(
        [
            f'# {args.title}', '',
            f'{len(chosen)} of {count} runs, {len(trained)} of them trained; budget '
            f'{budget_of(args)} each{options}; seeds {", ".join(map(str, args.seeds))}; '
            f'{", ".join(dates)}; commits {", ".join(commits)}.', '',
            markdown(matrix), '', f'![{args.title}]({link})', '',
            *refused,
        ]
    )  # fmt: skip


def commit() -> str:
    """The commit of the source, with a ``+`` if it was changed; else the version."""
    folder = Path(__file__).resolve().parents[2]

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ['git', '-C', str(folder), *words], capture_output=True, text=True
            )
        except OSError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    found = git('rev-parse', '--short', 'HEAD')
    if found is None:
        return __version__
    return found + ('+' if git('status', '--porcelain', '--untracked-files=no') else '')


def _machine(threads: int) -> str:
    """What a reader of the table wants to know of it; its name says nothing to others."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else 'no GPU'
    return (
        f'{platform.machine()}, {os.cpu_count()} CPU cores, {device}, '
        f'{threads} thread{"s" * (threads > 1)}'
    )


def _safe(text: str) -> str:
    return ''.join(letter if letter.isalnum() or letter in '-_.' else '_' for letter in text)
