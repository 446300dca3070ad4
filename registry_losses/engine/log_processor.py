"""MMEngine's log lines, shorter: what a reader of a terminal looks for."""

from __future__ import annotations

import logging
import re
from typing import Any

from mmengine.runner import LogProcessor as _LogProcessor

from ..errors import ConfigError
from ..registry import LOG_PROCESSORS

_NUMBER = re.compile(r'(?<=: )(\d+\.\d{4,})(?=\s|$)')


@LOG_PROCESSORS.register_module()
class LogProcessor(_LogProcessor):
    """Takes MMEngine's arguments and writes its lines, without what says nothing.

    One learning rate where all groups have the same; the time for data only where it is a
    tenth of the step; three decimals; "undefined" for figures that nothing defines. The
    files that tools read (``scalars.json``) keep everything.

    Raises:
        ConfigError: If ``window_size`` is no number of steps.
    """

    def __init__(self, window_size: int = 10, *args: Any, **options: Any) -> None:
        if isinstance(window_size, bool) or not isinstance(window_size, int) or window_size < 1:
            raise ConfigError(
                f'log_processor.window_size: expected steps, 1 or more, got {window_size!r}'
            )
        super().__init__(window_size, *args, **options)

    def get_log_after_iter(self, runner: Any, batch_idx: int, mode: str) -> tuple[dict, str]:
        """The scalars and the line of a step."""
        tag, text = super().get_log_after_iter(runner, batch_idx, mode)
        return tag, shorten(text)

    def get_log_after_epoch(
        self, runner: Any, batch_idx: int, mode: str, with_non_scalar: bool = False
    ) -> tuple[dict, str]:
        """The figures and the line of a validation or a test."""
        tag, text = super().get_log_after_epoch(runner, batch_idx, mode, with_non_scalar)
        # How long a batch took says little beside the figures.
        return tag, shorten(re.sub(r'\s+data_time: \S+\s+time: \S+\s*$', '', text))


def shorten(line: str) -> str:
    """A log line without repetitions.

    Example:
        >>> shorten('base_lr: 1.0e-03 lr: 1.0e-03  time: 0.1234  data_time: 0.0021  loss: 1.23456')
        'lr: 1.0e-03  time: 0.123  loss: 1.235'
    """
    rates = re.search(r'base_lr: (\S+) lr: (\S+)', line)
    if rates and rates[1] == rates[2]:
        line = line.replace(rates[0], f'lr: {rates[2]}')
    times = re.search(r'(?<!_)time: (\S+)\s+data_time: (\S+)\s*', line)
    if times and float(times[2]) < 0.1 * float(times[1]):
        line = line.replace(times[0], f'time: {times[1]}  ')
    line = _NUMBER.sub(lambda found: _rounded(found[1]), line)
    return re.sub(r': nan(?=\s|$)', ': undefined', line).rstrip()


def _rounded(number: str) -> str:
    """Three decimals, more where they would leave nothing."""
    return number if 0 < float(number) < 0.01 else f'{float(number):.3f}'


# Long or repeated with every run: they go to the log file, not to the console.
_FILE_ONLY = (
    '\n----',  # the environment
    'Config:',
    'Hooks will be executed',
    'Exp name:',
    'Distributed training is not used',
    'paramwise_options',
    '"FileClient" will be',
    '"HardDiskBackend" is',
)


def for_the_console(record: logging.LogRecord) -> bool:
    """Whether a line of the log is shown, and not merely kept in the file."""
    return not record.getMessage().startswith(_FILE_ONLY)
