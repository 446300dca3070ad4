"""The exceptions a user of the package can meet.

Each derives from the built-in that callers already catch (``ValueError``,
``KeyError``), so that ``except ValueError`` keeps working.
"""


class RegistryLossesError(Exception):
    """Base class of every exception raised on purpose by this package."""


class ConfigError(RegistryLossesError, ValueError):
    """A config holds a key nobody reads, a wrong value, or lacks a required key."""


class PairingError(ConfigError):
    """A head, assigner, sampler and loss that cannot work together."""


class DataError(RegistryLossesError, ValueError):
    """An annotation file, image or label that cannot be used as it stands."""


class ShapeError(RegistryLossesError, ValueError):
    """A tensor whose shape or dtype is not the documented one."""


class MissingDependencyError(RegistryLossesError, ImportError):
    """An optional package is needed; the message says what to install."""


def check_shape(name: str, tensor, *expected) -> None:
    """Raise :class:`ShapeError` unless ``tensor.shape`` matches ``expected``.

    Args:
        name: What the message calls the tensor.
        tensor: Anything with a ``shape``.
        *expected: One entry a dimension: an int that must be equal, or a letter
            (``'N'``) for any size.

    Raises:
        ShapeError: With the expected and the actual shape. Never reads values,
            so it costs no device synchronisation.
    """
    shape = tuple(tensor.shape)
    matches = len(shape) == len(expected) and all(
        isinstance(e, str) or e == s for e, s in zip(expected, shape)
    )
    if not matches:
        wanted = '(' + ', '.join(str(e) for e in expected) + (',)' if len(expected) == 1 else ')')
        raise ShapeError(f'{name}: expected shape {wanted}, got {shape}')
