"""Small random damage to text, bytes and nested data, from a seeded generator."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from random import Random
from typing import Any

# What people's files hold where something else was meant.
ODD_VALUES = (
    None, '', ' ', 'x', '0', '-1', 'nan', 'None', True, False, 0, -1, 1, 2**31, 2**63, -(2**40),
    0.5, 1e308, float('nan'), float('inf'), float('-inf'), [], {}, [[]], [None], [1, 2], {'a': 1},
    'é', 'a/b', '../x', '\x00', 'x' * 300,
)  # fmt: skip


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Every place inside nested dicts and lists."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*path, key)
            yield from places(item, (*path, key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield (*path, index)
            yield from places(item, (*path, index))


def mutate_tree(value: Any, rng: Random, *, times: int = 1) -> tuple[Any, str]:
    """A copy of nested data with something replaced, dropped, renamed or repeated.

    Returns:
        The copy, and what was done.
    """
    value = copy.deepcopy(value)
    done = []
    for _ in range(times):
        chosen = list(places(value))
        if not chosen:
            break
        path = rng.choice(chosen)
        holder = value
        for key in path[:-1]:
            holder = holder[key]
        if isinstance(holder, tuple):
            continue
        key, what = path[-1], rng.choice(('replace', 'replace', 'drop', 'rename', 'repeat', 'swap'))
        if what == 'drop':
            del holder[key]
        elif what == 'rename' and isinstance(holder, dict):
            holder[f'{key}{rng.choice(("s", "_", "x", " "))}'] = holder.pop(key)
        elif what == 'repeat' and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        elif what == 'swap':
            other = rng.choice(chosen)
            source = value
            try:
                for part in other:
                    source = source[part]
            except (KeyError, IndexError, TypeError):
                continue
            holder[key] = copy.deepcopy(source)
        else:
            what, holder[key] = 'replace', rng.choice(ODD_VALUES)
            what += f' by {holder[key]!r:.40}'
        done.append(f'{".".join(map(str, path))}: {what}')
    return value, '; '.join(done)


def mutate_bytes(data: bytes, rng: Random) -> tuple[bytes, str]:
    """Bytes with bits flipped, a part gone or repeated, or an end cut off."""
    what = rng.choice(('flip', 'flip', 'cut', 'drop', 'repeat', 'zero', 'noise', 'empty'))
    if what == 'empty' or not data:
        return b'', 'empty'
    at = rng.randrange(len(data))
    length = min(rng.choice((1, 4, 32, 512)), len(data) - at)
    if what == 'flip':
        out = bytearray(data)
        for _ in range(rng.choice((1, 1, 3, 20))):
            out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
        return bytes(out), 'bits flipped'
    if what == 'cut':
        return data[:at], f'cut at {at}'
    middle = {
        'drop': b'',
        'repeat': data[at : at + length] * 2,
        'zero': bytes(length),
        'noise': rng.randbytes(length),
    }[what]
    return data[:at] + middle + data[at + length :], f'{what} {length} at {at}'


def mutate_words(words: list[str], rng: Random) -> tuple[list[str], str]:
    """A command line with a word dropped, doubled, damaged or exchanged."""
    words = list(words)
    for _ in range(rng.choice((1, 1, 2))):
        if not words:
            break
        at = rng.randrange(len(words))
        what = rng.choice(('drop', 'repeat', 'letter', 'odd', 'swap'))
        if what == 'drop':
            del words[at]
        elif what == 'repeat':
            words.insert(at, words[at])
        elif what == 'letter' and words[at]:
            cut = rng.randrange(len(words[at]))
            words[at] = words[at][:cut] + rng.choice('=.[]()x-é "') + words[at][cut + 1 :]
        elif what == 'swap':
            other = rng.randrange(len(words))
            words[at], words[other] = words[other], words[at]
        else:
            words[at] = str(rng.choice(ODD_VALUES))
    words = [word.replace('\x00', '') for word in words]
    return words, ' '.join(words)
