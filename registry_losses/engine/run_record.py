"""How a run was started: command, versions, commit, machine."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from .._version import __version__

RECORD = 'run.json'
_PACKAGES = ('torch', 'mmengine', 'mmcv-lite', 'mmcv', 'numpy', 'opencv-python', 'faster-coco-eval')


def run_record(**more: Any) -> dict[str, Any]:
    """What a reader needs to run this once more.

    Args:
        **more: Further entries, such as the seed.
    """
    here = Path(__file__).resolve().parents[1]
    return dict(
        started=time.strftime('%Y-%m-%d %H:%M:%S %z'),
        command=shlex.join([Path(sys.executable).name, *sys.argv]),
        folder=os.getcwd(),
        commit=git_commit(here) or 'not under version control',
        versions=versions(),
        machine=machine(),
        **more,
    )


def write_record(folder: str | Path, record: dict[str, Any]) -> Path:
    """Write a record into the folder of a run's log."""
    path = Path(folder) / RECORD
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=2), encoding='utf-8')
    return path


def versions() -> dict[str, str]:
    """Python's, ours, and those of the packages that decide what a training does."""
    found = {'Python': platform.python_version(), 'registry_losses': __version__}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def machine() -> str:
    """System, processor, cores and GPUs."""
    text = f'{platform.system()} {platform.machine()}, {os.cpu_count()} cores'
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        text += f', {len(names)} x {names[0]}' if names else ''
    return text


def git_commit(folder: Path) -> str | None:
    """The commit of a folder, ``+`` where files differ from it; None where git has none of it.

    Args:
        folder: With files that git tracks: a folder that only lies below a repository, such
            as an environment's, has no commit.
    """

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ['git', '-C', str(folder), *words],
                capture_output=True,
                text=True,
                timeout=10,
                check=False,
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if not git('ls-files', '__init__.py'):
        return None
    commit = git('rev-parse', 'HEAD')
    changed = git('status', '--porcelain', '--untracked-files=no')
    return None if commit is None else commit + ('+' if changed else '')
