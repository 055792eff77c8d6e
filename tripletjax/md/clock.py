"""The cost of a step, without compilation."""


class Clock:
    """Time of blocks of steps, excluding blocks that compile.

    A program is compiled for every width of the neighbour list.

    Args:
        n_atoms: number of atoms.

    Example:
        >>> clock = Clock(n_atoms=10)
        >>> clock.add(60.0, steps=10, width=32)
        >>> print(clock)
        compiling
        >>> clock.add(0.001, steps=10, width=32)
        >>> print(clock)
        10 µs/atom/step
    """

    def __init__(self, n_atoms: int):
        self.n_atoms, self.seconds, self.steps, self.width = n_atoms, 0.0, 0, 0

    def add(self, seconds: float, steps: int, width: int) -> None:
        """Add the time of a block, with a list of this width at its end."""
        if width == self.width:
            self.seconds, self.steps = self.seconds + seconds, self.steps + steps
        self.width = width

    def cost(self) -> float | None:
        """µs/atom/step."""
        return 1e6 * self.seconds / (self.n_atoms * self.steps) if self.steps else None

    def __str__(self) -> str:
        cost = self.cost()
        return "compiling" if cost is None else f"{cost:.3g} µs/atom/step"
