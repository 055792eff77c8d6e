"""Time of compiled functions."""

import statistics
import time

import jax


def seconds(function, argument, repeats: int = 7) -> float:
    """Median time of a compiled call; the first, which compiles, is left out."""
    jax.block_until_ready(function(argument))
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function(argument))
        times.append(time.perf_counter() - start)
    return statistics.median(times)
