"""How much memory a call takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.profiler import ProfilerActivity, profile


def peak_bytes(call: Callable[[], Any]) -> int:
    """The most that tensors made on the CPU during the call hold at once, results included."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    events: Any = profiler.profiler
    now = most = 0
    for event in sorted(events.kineto_results.events(), key=_start):
        if event.name() == '[memory]':
            now += event.nbytes()
            most = max(most, now)
    return most


def _start(event: Any) -> int:
    # PyTorch before 2.4 counts in microseconds.
    return event.start_ns() if hasattr(event, 'start_ns') else event.start_us()
