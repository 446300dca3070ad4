"""What depends on the device: whether a host sync is free, how large a block may be."""

from pathlib import Path

import torch

# Elements of one block of a streamed (B, n, M) computation: about a megabyte of float32
# a temporary, which stays in a CPU's cache and well under 64 MB in all.
CHUNK_ELEMENTS = 2**18

_HOST_DEVICES = {'cpu'}


def host_sync_is_free(device: torch.device) -> bool:
    """Whether the host may read a tensor's values without waiting.

    True on the CPU. On other devices reading a value is a host sync: it waits until the
    device has caught up. There rules work with padding instead of counting what is needed.
    """
    return device.type in _HOST_DEVICES


def block_elements(device: torch.device) -> int:
    """Elements of the tensors worked on at a time.

    On the CPU few enough to stay in cache; elsewhere more, since every block has its
    launches, and often a wait.
    """
    return CHUNK_ELEMENTS if host_sync_is_free(device) else CHUNK_ELEMENTS * 16


def has_bfloat16_units(cpuinfo: Path = Path('/proc/cpuinfo')) -> bool | None:
    """Whether the CPU multiplies bfloat16 by itself; None where the system does not say.

    Without such units a convolution in bfloat16 takes many times as long as in float32.

    Args:
        cpuinfo: Where Linux lists what the CPU can do, on x86 as ``flags``, on ARM as
            ``Features``.
    """
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, words = line.partition(':')
        if name.strip() in ('flags', 'Features'):
            return not {'avx512_bf16', 'amx_bf16', 'bf16', 'svebf16'}.isdisjoint(words.split())
    return None
