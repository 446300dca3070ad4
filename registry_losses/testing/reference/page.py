"""The plain formulas as a page: ``python -m registry_losses.testing.reference.page losses``."""

import sys
from importlib import import_module
from pathlib import Path


def page(room: str) -> str:
    """The sources of a room's references, in Markdown.

    Args:
        room: A package in this one, such as ``losses``.
    """
    package = import_module(f'{__package__}.{room}')
    lines = [f'# Plain formulas: {room}', '']
    lines += ['Made from the code by `make docs`.', '', (package.__doc__ or '').strip()]
    for path in sorted(Path(str(package.__file__)).parent.glob('[a-z]*.py')):
        lines += ['', f'## {path.stem}.py', '', '```python', path.read_text('utf-8').strip(), '```']
    return '\n'.join(lines) + '\n'


if __name__ == '__main__':
    sys.stdout.write(page(*sys.argv[1:]))
