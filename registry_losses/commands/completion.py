"""``tools/completion.py``: a script by which a shell completes our commands with TAB."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from importlib import import_module

from ..errors import MissingDependencyError
from .cli import positive_int, positive_number, run_command

SHELLS = ('bash', 'zsh', 'tcsh')
TOOLS = (
    'analyze_results', 'benchmark_model', 'browse_dataset', 'check_config', 'compare_runs',
    'completion', 'convert_dataset', 'export', 'fit_anchors', 'infer', 'new_config',
    'pairing_grid', 'pairing_matrix', 'plot_losses', 'prepare_digits', 'report', 'test', 'train',
    'visualize_assignments',
)  # fmt: skip
"""Every tool, in ``tools/`` and by name as a command; a test compares."""

_NO_FILES = {int, float, positive_int, positive_number}


def completion_parser() -> argparse.ArgumentParser:
    """The arguments of ``tools/completion.py``."""
    parser = argparse.ArgumentParser(
        description='Print a script that completes options, choices and file names of all'
        ' registry-losses-* commands. For bash: registry-losses-completion bash >>'
        ' ~/.bash_completion, then open a new shell.'
    )
    parser.add_argument('shell', choices=SHELLS)
    return parser


def completion(args: argparse.Namespace) -> None:
    """Print the script.

    Raises:
        MissingDependencyError: If shtab is not installed.
    """
    print(completion_script(args.shell))


def completion_script(shell: str) -> str:
    """The script for a shell, for all commands.

    Args:
        shell: Of :data:`SHELLS`.

    Raises:
        MissingDependencyError: If shtab is not installed.
    """
    try:
        import shtab
    except ImportError as error:
        raise MissingDependencyError(
            "tab completion needs shtab: pip install 'registry_losses[completion]' (or pip install"
            ' shtab)'
        ) from error
    scripts = []
    for tool in TOOLS:
        module = import_module(f'{__package__}.{tool}')
        parser: argparse.ArgumentParser = getattr(module, f'{tool}_parser')()
        parser.prog = f'registry-losses-{tool.replace("_", "-")}'
        for action in parser._actions:
            takes_value = action.nargs != 0 and not action.choices
            if takes_value and action.type not in _NO_FILES:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
        scripts.append(shtab.complete(parser, shell=shell, root_prefix=_identifier(parser.prog)))
    return '\n'.join(scripts)


def _identifier(name: str) -> str:
    return re.sub(r'\W', '_', name)


def completion_main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``tools/completion.py``."""
    run_command(completion_parser(), completion, argv)
