"""Order of tests that run on several workers: long ones first, spread evenly.

pytest-xdist (``--dist=worksteal``) gives each worker one slice of the list, and moves what has not begun to
workers that are idle. Tests are marked ``takes(seconds)``, measured in any unit that is the same for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

T = TypeVar("T")
MARK: Final = "takes"


def slices(count: int, workers: int) -> list[int]:
    """Return how many of *count* tests pytest-xdist gives to each worker."""
    sizes: list[int] = []
    for left in range(workers, 0, -1):
        sizes.append((count - sum(sizes)) // left)
    return sizes


def ordered(tests: Sequence[tuple[T, float]], workers: int) -> list[T]:
    """Return the tests in the order in which *workers* end soonest.

    Args:
        tests: Each with its duration; those of 0 keep their order, and fill the slices.
        workers: At least 1.
    """
    sizes = slices(len(tests), workers)
    shares: list[list[T]] = [[] for _ in sizes]
    loads = [0.0] * workers
    for test, seconds in sorted((one for one in tests if one[1]), key=lambda one: -one[1]):
        share = min((at for at in range(workers) if len(shares[at]) < sizes[at]), key=loads.__getitem__)
        shares[share].append(test)
        loads[share] += seconds
    short = iter([test for test, seconds in tests if not seconds])
    return [test for share, size in zip(shares, sizes, strict=True) for test in _filled(share, size, short)]


def _filled(share: list[T], size: int, short: Iterable[T]) -> list[T]:
    return share + [test for _, test in zip(range(size - len(share)), short, strict=False)]
