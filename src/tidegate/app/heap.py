"""The garbage collector of a process that holds a large, almost immutable heap.

The core's values form trees without cycles and go by reference count; walking all of them again and again finds
nothing, and costs a first configuration of thousands of services a tenth of its time.
"""

import gc

YOUNG = 50_000
"""Container objects that may come to be before the collector looks; Python's own 700 are soon reached."""


def spare() -> None:
    """Let the collector look less often. Cycles (of exceptions, of tasks) are still found."""
    gc.set_threshold(YOUNG, 20, 20)


def settle() -> None:
    """After the store was read: what is held now is no garbage, and is not walked again."""
    gc.collect()
    gc.freeze()
