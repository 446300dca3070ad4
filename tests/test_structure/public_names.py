"""The list of public names: every ``__all__`` of a package, and every registered name.

``python tests/test_structure/public_names.py`` writes ``public_names.txt`` anew, for a change
that is meant.
"""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

if __name__ == '__main__':
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import registry_losses
from registry_losses.registry import ALL_REGISTRIES

LIST = Path(__file__).with_name('public_names.txt')
PACKAGE = registry_losses.__name__


def public_names() -> str:
    """The list, a name a line; ``old -> new`` where a name is another one's alias."""
    return '\n'.join([*_exported(), *_registered()]) + '\n'


def _exported() -> Iterator[str]:
    root = Path(registry_losses.__file__).parent
    for path in sorted(root.rglob('__init__.py')):
        name = '.'.join([PACKAGE, *path.parent.relative_to(root).parts])
        if name.startswith((f'{PACKAGE}.configs', f'{PACKAGE}.testing')):
            continue
        names = getattr(import_module(name), '__all__', ())
        if names:
            yield f'[{name}]'
            yield from sorted(names)
            yield ''


def _registered() -> Iterator[str]:
    import_module(f'{PACKAGE}.commands.cli')
    for registry in ALL_REGISTRIES:
        # Other tests may have registered parts of their own.
        own = {
            name: target.__name__
            for name, target in registry.module_dict.items()
            if target.__module__.startswith(f'{PACKAGE}.')
        }
        if own:
            yield f'[registry: {registry.name}]'
            for name, target in sorted(own.items()):
                yield name if name == target else f'{name} -> {target}'
            yield ''


if __name__ == '__main__':
    LIST.write_text(public_names(), encoding='utf-8')
