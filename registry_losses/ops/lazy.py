"""An attribute that is worked out when first read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

T = TypeVar('T')


class lazy(Generic[T]):
    """As ``functools.cached_property``, without the lock that it takes before Python 3.12.

    ``torch.compile`` cannot trace a lock; two threads that read at once may both work.
    """

    def __init__(self, function: Callable[[Any], T]) -> None:
        self.function = function
        self.name = function.__name__
        self.__doc__ = function.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> lazy[T]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object | None, owner: type) -> T | lazy[T]:
        if instance is None:
            return self
        value = self.function(instance)
        # What is in an instance's own dictionary is read before this.
        instance.__dict__[self.name] = value
        return value
