"""What annotation files mean by their values: flags, sizes, weights and identifiers.

Each reader returns the value and whether it stood there in another form than expected,
or raises ``ValueError`` saying what was expected; the caller knows file, image and key.
"""

from __future__ import annotations

import math
from typing import Any

_YES = frozenset({'1', '1.0', 'true', 'yes', 'y'})
_NO = frozenset({'0', '0.0', 'false', 'no', 'n'})
_UNSAID = frozenset({'', 'none', 'null', 'unspecified', 'unknown', 'nan'})


def is_number(value: Any) -> bool:
    """Whether a value is an int or a float (NaN and infinity are), and no bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def as_number(value: Any) -> float | None:
    """The finite number that a value is or spells; None if it is none.

    Example:
        >>> as_number('100.0'), as_number(None), as_number('wide')
        (100.0, None, None)
    """
    if isinstance(value, str):
        try:
            value = float(value.strip())
        except ValueError:
            return None
    if not is_number(value):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def read_flag(value: Any) -> tuple[bool, bool]:
    """A flag such as ``iscrowd``: 0, 1, true, false, or the same as text.

    Null and words such as "Unspecified" count as 0.

    Raises:
        ValueError: For anything else, such as 2 or "maybe".

    Example:
        >>> read_flag(1), read_flag('0'), read_flag(None)
        ((True, False), (False, True), (False, True))
    """
    if isinstance(value, bool):
        return value, False
    if is_number(value) and value in (0, 1):
        return bool(value), False
    word = '' if value is None else value.strip().lower() if isinstance(value, str) else None
    if word in _YES:
        return True, True
    if word in _NO or word in _UNSAID:
        return False, True
    raise ValueError(f'expected 0 or 1, got {value!r}')


def read_size(value: Any) -> int:
    """A side of an image in whole pixels, as a number or as text.

    Raises:
        ValueError: If it is not a positive whole number.

    Example:
        >>> read_size('100.0')
        100
    """
    number = as_number(value)
    if number is None or number < 1 or abs(number - round(number)) > 1e-6:
        raise ValueError(f'expected a positive whole number, got {value!r}')
    return round(number)


def read_name(value: Any) -> str:
    """A name of a file or class: text that can be written down, without null characters.

    Raises:
        ValueError: If it is anything else.
    """
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f'expected a name, got {value!r}')
    # Half a surrogate pair is text to json, and nothing to files, logs and terminals.
    if '\0' in value or (not value.isascii() and any('\ud800' <= c <= '\udfff' for c in value)):
        raise ValueError(f'expected text, got {value!r}')
    return value


def read_weight(value: Any) -> float:
    """How much an object counts in training: a finite number, 0 or more.

    Raises:
        ValueError: If it is anything else.
    """
    number = as_number(value)
    if number is None or not 0 <= number < 1e30:  # float32 holds up to 3e38
        raise ValueError(f'expected a finite number of at least 0, got {value!r}')
    return number


def read_id(value: Any) -> int | str:
    """An identifier: a whole number of any size, or text that is not empty.

    Raises:
        ValueError: If it is anything else: null, a list, 1.5.
    """
    if isinstance(value, str) and value:
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise ValueError(f'expected a whole number or text, got {value!r}')


class Ids:
    """Finds what an identifier refers to, also where one is text and the other a number.

    Args:
        known: The identifiers that a file defines.
    """

    def __init__(self, known: Any) -> None:
        self._known = set(known)
        self._by_text: dict[str, Any] = {}
        for key in self._known:
            # Two that read alike ("1" and 1) are told apart by their type alone.
            self._by_text[str(key)] = None if str(key) in self._by_text else key

    def find(self, value: Any) -> tuple[Any, bool]:
        """The known identifier that is meant (None: there is none), and if it read otherwise.

        Example:
            >>> Ids([1, 2]).find('2'), Ids(['a']).find(3)
            ((2, True), (None, False))
        """
        try:
            value = read_id(value)
        except ValueError:
            return None, False
        if value in self._known:
            return value, False
        meant = self._by_text.get(str(value))
        return meant, meant is not None
