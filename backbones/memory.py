"""How much memory is free, and what an error says about it."""

import ctypes
import gc
import os
from collections.abc import Iterable
from pathlib import Path

import psutil
import torch

GIGABYTE = 10**9
LIMIT = "NINE_WAYS_MEMORY"
PAGE_OUT = 21  # MADV_PAGEOUT of linux/mman.h
_GROUP = Path("/sys/fs/cgroup")  # of this process, in a container


def out_of_memory(error: BaseException) -> bool:
    """Whether this error says that memory ran out, on whatever device."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        phrase in words for phrase in ("not enough memory", "out of memory", "can't allocate memory", "bad_alloc")
    )


def free(device: torch.device) -> int:
    """Bytes that may still be taken on a device: what the machine, or the container, has left, and no more than what
    $NINE_WAYS_MEMORY, in gigabytes, leaves to this process. Raises ValueError where that is no number above 0.

    Weights that are mapped from their files count as taken on the CPU: the system might drop their pages, and would
    have to read them again at each step.
    """
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
        left, taken = torch.cuda.mem_get_info(device)[0], torch.cuda.memory_allocated(device)
    else:
        own = psutil.Process().memory_info()
        left, taken = _left_on_the_machine() - _mapped(), own.rss
    limit = _limit()
    return left if limit is None else min(left, limit - taken)


def _limit() -> int | None:
    said = os.environ.get(LIMIT)
    if not said:
        return None
    try:
        limit = float(said)
    except ValueError:
        limit = 0.0
    if not limit > 0:
        raise ValueError(f"{LIMIT}={said}: give gigabytes, such as 8 or 6.5")
    return int(limit * GIGABYTE)


def _left_on_the_machine() -> int:
    left = int(psutil.virtual_memory().available)
    try:
        most = (_GROUP / "memory.max").read_text().strip()
        if most == "max":
            return left
        stat = dict(line.split() for line in (_GROUP / "memory.stat").read_text().splitlines())
        cached = int(stat["active_file"]) + int(stat["inactive_file"])  # given back where memory is wanted
        return min(left, int(most) - int((_GROUP / "memory.current").read_text()) + cached)
    except (OSError, ValueError, KeyError):
        return left


def _mapped() -> int:
    """Bytes of files that this process has mapped and in memory; 0 where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssFile:"))
    except (OSError, StopIteration, ValueError):
        return 0


def give_back() -> None:
    """Frees what nothing refers to any more, and hands it back to the system and to other processes on the GPU."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    try:
        ctypes.CDLL(None).malloc_trim(0)  # glibc keeps freed memory otherwise
    except (AttributeError, OSError, TypeError):
        pass


def page_out(files: Iterable[Path]) -> None:
    """Tells the system that what is mapped of these files is not needed soon: it is read again where it is, and does
    not count as this process's until then. Linux only; elsewhere nothing happens.
    """
    wanted = {str(file.resolve()) for file in files}
    try:
        maps = [line.split(maxsplit=5) for line in Path("/proc/self/maps").read_text().splitlines()]
        advise = ctypes.CDLL(None, use_errno=True).madvise
    except (OSError, AttributeError):
        return
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for begin, _, end in (line[0].partition("-") for line in maps if line[-1] in wanted):
        advise(int(begin, 16), int(end, 16) - int(begin, 16), PAGE_OUT)
