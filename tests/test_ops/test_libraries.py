"""Libraries made from C sources: compilers, the folder they are kept in, damage to it."""

import shutil
import subprocess

import pytest

from registry_losses.losses.fused import native as fused_native
from registry_losses.ops import native

needs_compiler = pytest.mark.skipif(
    shutil.which('cc') is None and shutil.which('gcc') is None and shutil.which('clang') is None,
    reason='there is no C compiler',
)


@needs_compiler
def test_a_compiler_that_fails_is_quoted(monkeypatch, tmp_path):
    source = tmp_path / 'bad.c'
    source.write_text('int f(void) { return MISSING; }')
    monkeypatch.setattr(native, 'cache_folder', lambda: tmp_path)
    with pytest.raises(native.CompilerMissing, match=r'(?s)cannot make bad\.c.*MISSING'):
        native.load_library(source, {})
    assert not list(tmp_path.glob('*.so'))


@needs_compiler
def test_libraries_are_kept_and_made_anew_for_other_constants(monkeypatch, tmp_path):
    source = tmp_path / 'number.c'
    source.write_text('int number(void) { return NUMBER; }')
    monkeypatch.setattr(native, 'cache_folder', lambda: tmp_path)
    calls = []
    run = subprocess.run
    monkeypatch.setattr(
        native.subprocess, 'run', lambda *a, **k: (calls.append(a[0]), run(*a, **k))[1]
    )
    assert native.load_library(source, {'NUMBER': '3'}).number() == 3
    assert native.load_library(source, {'NUMBER': '4'}).number() == 4
    made = len([call for call in calls if '-c' in call])
    assert native.load_library(source, {'NUMBER': '3'}).number() == 3
    assert len([call for call in calls if '-c' in call]) == made == 2
    assert len(list(tmp_path.glob('*.so'))) == 2


@needs_compiler
@pytest.mark.parametrize('spoil', [lambda whole: whole[: len(whole) // 2], lambda whole: b''])
def test_half_a_library_is_made_anew(spoil, monkeypatch, tmp_path):
    """Loading it would end the process."""
    source = tmp_path / 'number.c'
    source.write_text('int number(void) { return NUMBER; }')
    monkeypatch.setattr(native, 'cache_folder', lambda: tmp_path)
    native.load_library(source, {'NUMBER': '3'})
    (path,) = tmp_path.glob('*.so')
    whole = path.read_bytes()
    path.unlink()  # not written over: this process has it mapped
    path.write_bytes(spoil(whole))
    assert native.load_library(source, {'NUMBER': '3'}).number() == 3
    assert path.read_bytes() == whole


@needs_compiler
@pytest.mark.parametrize('place', ['.', 'a file', 'no home'])
def test_any_place_for_libraries_will_do(place, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(native, 'cache_folder', native.cache_folder.__wrapped__)
    source = tmp_path / 'number.c'
    source.write_text('int number(void) { return 5; }')
    for name in ('REGISTRY_LOSSES_CACHE', 'XDG_CACHE_HOME'):
        monkeypatch.delenv(name, raising=False)
    if place == 'no home':

        def home():
            raise RuntimeError('Could not determine home directory.')

        monkeypatch.setattr(native.Path, 'home', home)
    else:
        (tmp_path / 'a file').write_text('')
        monkeypatch.setenv('REGISTRY_LOSSES_CACHE', place)
    assert native.load_library(source, {}).number() == 5
    assert len(list(tmp_path.glob('*.so'))) == (place == '.')


@needs_compiler
def test_a_compiler_whose_path_holds_a_space(monkeypatch, tmp_path):
    folder = tmp_path / 'my tools'
    folder.mkdir()
    (folder / 'my cc').symlink_to(next(filter(None, map(shutil.which, ('cc', 'gcc', 'clang')))))
    monkeypatch.setenv('CC', str(folder / 'my cc'))
    monkeypatch.setattr(native, 'cache_folder', lambda: tmp_path)
    source = tmp_path / 'number.c'
    source.write_text('int number(void) { return 7; }')
    assert native.load_library(source, {}).number() == 7


@pytest.mark.parametrize(
    'command, message',
    [
        ("cc '-O", 'CC: expected a command, got "cc \'-O": No closing quotation'),
        ('/no/such/cc -O1', '/no/such/cc -O1 cannot make'),
        ('{}', 'cannot make .*: \ufffd broken'),
    ],
)
def test_a_useless_compiler_is_told(command, message, monkeypatch, tmp_path):
    script = tmp_path / 'bytes'
    script.write_text("#!/bin/sh\nprintf '\\377 broken' >&2\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setenv('CC', command.format(script))
    with pytest.raises(native.CompilerMissing, match=message):
        native.load_library(fused_native.SOURCE, {})
