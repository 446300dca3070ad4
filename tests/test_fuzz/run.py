"""``make fuzz``: damaged input by the thousand, each ending in a clean run or an error of ours.

``python -m tests.test_fuzz.run --cases 5000 --seed 0``; ``--only TARGET:SEED`` runs one again.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from random import Random

import cv2
import torch

from registry_losses.errors import RegistryLossesError

from .targets import TARGETS

SLOW = 10.0  # seconds that a case may take


class TooLong(BaseException):
    """Raised within a case that would not end; no handler of errors takes it for one."""


def _interrupt(*_: object) -> None:
    raise TooLong


def run_case(name: str, seed: int, folder: Path) -> tuple[str, str]:
    """One case.

    Returns:
        ``clean``, ``refused`` or ``broken``, and for a broken one what happened.
    """
    folder.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    quiet = io.StringIO()
    before = signal.signal(signal.SIGALRM, _interrupt)
    signal.setitimer(signal.ITIMER_REAL, 2 * SLOW)
    try:
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            TARGETS[name](Random(f'{name}:{seed}'), folder)
        outcome = 'clean', ''
    except RegistryLossesError as error:
        outcome = ('refused', '') if str(error).strip() else ('broken', 'an error without a word')
    except SystemExit as error:
        text = quiet.getvalue()
        ours = error.code in (0, None, 1, 2, 130) and 'Traceback' not in text
        said = bool(text.strip()) or error.code in (0, None)
        outcome = ('refused', '') if ours and said else ('broken', f'exit {error.code}: {text}')
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        done = getattr(error, 'args_of_fuzz', '')
        told = f'{type(error).__name__}: {str(error)[:200]} ({Path(where.filename).name}'
        outcome = 'broken', f'{told}:{where.lineno}) after {done[:200]}'
    except TooLong as error:
        where = traceback.extract_tb(error.__traceback__)[-2]
        outcome = 'broken', f'did not end ({Path(where.filename).name}:{where.lineno})'
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    seconds = time.perf_counter() - start
    if seconds > SLOW and outcome[0] != 'broken':
        outcome = 'broken', f'took {seconds:.1f} s'
    return outcome


def main() -> None:
    """Run the cases, print what broke and the count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--cases', type=int, default=5000)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--targets', nargs='+', choices=list(TARGETS), default=list(TARGETS))
    parser.add_argument('--only', metavar='TARGET:SEED', help='run one case again')
    args = parser.parse_args()
    quiet()
    work = Path(tempfile.mkdtemp(prefix='fuzz'))
    if not args.only:  # libraries of images write there by themselves
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        if args.only:
            name, _, seed = args.only.partition(':')
            TARGETS[name](Random(f'{name}:{seed}'), work)
            return
        sys.exit(fuzz(args.targets, args.cases, args.seed, work))
    finally:
        shutil.rmtree(work, ignore_errors=True)


def quiet() -> None:
    """No log lines, one thread."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter('ignore')
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    torch.set_num_threads(1)


def fuzz(targets: list[str], cases: int, seed: int, work: Path) -> int:
    """Run cases of the targets in turn; returns the exit status."""
    counts: Counter[tuple[str, str]] = Counter()
    start, kinds = time.perf_counter(), {}
    for number in range(cases):
        name, case = targets[number % len(targets)], seed * 1_000_000 + number
        state, message = run_case(name, case, work / name)
        counts[name, state] += 1
        if state == 'broken':
            kind = message.partition(' after ')[0]
            if kind not in kinds:
                print(f'{name}:{case}  {message}', flush=True)
            kinds[kind] = kinds.get(kind, 0) + 1
    for name in targets:
        told = ', '.join(f'{counts[name, s]} {s}' for s in ('clean', 'refused', 'broken'))
        print(f'{name:14} {told}')
    broken = sum(kinds.values())
    minutes = (time.perf_counter() - start) / 60
    print(f'{cases} cases in {minutes:.1f} minutes: {broken} broken, in {len(kinds)} ways')
    return bool(broken)


if __name__ == '__main__':
    main()
