"""The exceptions a user of the package can meet.

Each derives from the built-in that callers already catch (``ValueError``,
``KeyError``), so that ``except ValueError`` keeps working.
"""

import difflib
from collections.abc import Iterable


class RegistryLossesError(Exception):
    """Base class of every exception raised on purpose by this package."""


class ConfigError(RegistryLossesError, ValueError):
    """A config holds a key nobody reads, a wrong value, or lacks a required key."""


class PairingError(ConfigError):
    """A head, assigner, sampler and loss that cannot work together."""


class UnknownTypeError(ConfigError, KeyError):
    """A ``type`` that no registry on the search path holds."""

    def __str__(self) -> str:
        """Return the plain message: ``KeyError`` would show its ``repr``."""
        return str(self.args[0]) if self.args else ''


class CheckpointError(RegistryLossesError, RuntimeError):
    """A checkpoint that is missing, truncated or holds more than plain data."""


class NonFiniteLossError(RegistryLossesError, FloatingPointError):
    """A loss or a weight became NaN or infinite during training."""


class DataError(RegistryLossesError, ValueError):
    """An annotation file, image or label that cannot be used as it stands."""


class DamagedImageError(DataError):
    """An image file that is there but cannot be decoded, or was cut off."""


class UnsupportedModeError(ConfigError, AssertionError, NotImplementedError):
    """A reduction or an activation there is none of; OpenMMLab asserts the one, lacks the other."""


class ShapeError(RegistryLossesError, ValueError, AssertionError):
    """A tensor whose shape or dtype is not the documented one; OpenMMLab asserts these."""


class ExportError(RegistryLossesError, RuntimeError):
    """A model that another runtime cannot hold, or of which it makes something else."""


class MissingDependencyError(RegistryLossesError, ImportError):
    """An optional package is needed; the message says what to install."""


def nearest_names(name: str, candidates: Iterable[str], *, limit: int = 3) -> list[str]:
    """Names that a user may have meant, best first.

    Case, underscores and dashes do not count, and a name that contains the other counts as near.

    Args:
        name: What was written.
        candidates: What would have been valid.
        limit: The largest number of names to return.

    Example:
        >>> nearest_names('FocalLos', ['FocalLoss', 'GIoULoss'])
        ['FocalLoss']
    """
    plain: dict[str, str] = {}
    for candidate in candidates:
        plain.setdefault(_plain(candidate), candidate)
    wanted = _plain(name)
    close = difflib.get_close_matches(wanted, plain, n=limit, cutoff=0.6)
    close += [p for p in plain if len(wanted) > 3 and (wanted in p or (p in wanted and len(p) > 3))]
    return [plain[p] for p in dict.fromkeys(close)][:limit]


def _plain(name: str) -> str:
    return name.lower().replace('_', '').replace('-', '')


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
