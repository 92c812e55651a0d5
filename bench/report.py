"""What do the results say, on the page docs/benchmarks.md?"""


def main() -> int:
    """Write the page."""
    return 0
