"""What an error says about memory."""

import torch


def out_of_memory(error: BaseException) -> bool:
    """Whether this error says that memory ran out, on whatever device."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        phrase in words for phrase in ("not enough memory", "out of memory", "can't allocate memory", "bad_alloc")
    )
