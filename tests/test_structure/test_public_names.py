"""The public names are a list that changes on purpose only."""

import difflib

import pytest

from registry_losses.registry import ALL_REGISTRIES

from .public_names import LIST, PACKAGE, public_names


def test_the_list_of_public_names():
    known = LIST.read_text(encoding='utf-8').splitlines()
    found = public_names().splitlines()
    changes = '\n'.join(difflib.unified_diff(known, found, 'the list', 'the code', lineterm=''))
    assert not changes, (
        f'{changes}\nA name that is gone breaks configs and imports: keep it for one release, '
        'with a warning. Where the change is meant: python tests/test_structure/public_names.py'
    )


@pytest.mark.parametrize('registry', ALL_REGISTRIES, ids=lambda registry: registry.name)
def test_registered_names_stand_in_the_scope(registry):
    for name, target in registry.module_dict.items():
        if target.__module__.startswith(f'{PACKAGE}.'):
            assert registry.get(f'{PACKAGE}.{name}') is target
