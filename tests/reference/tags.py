"""Weights of a limited number of tags, neighbour by neighbour."""


def step(x):
    """1 - x^4 (35 - 84 x + 70 x^2 - 20 x^3), 1 below 0 and 0 above 1."""
    if x <= 0:
        return 1.0
    if x >= 1:
        return 0.0
    return 1 - x**4 * (35 - 84 * x + 70 * x**2 - 20 * x**3)


def shell_weights(distances, cutoff, tags):
    """h(m) g(n) of every neighbour: m others are nearer by a fifth, n not farther by a fifth,

    as measured by the inverse of (1 - (r / cutoff)^12) / (r / cutoff) + 1e-4.
    """
    most = max(16, 2 * tags)
    far = [1 / ((1 - (r / cutoff) ** 12) / (r / cutoff) + 1e-4) for r in distances]
    weights = []
    for own in far:
        m = n = 0.0
        for other in far:
            m += 1 - step((own / other - 1) / 0.25)  # own / other = 1.25: nearer by a fifth
            n += step((1 - own / other) / 0.2)
        weights.append(step((m - tags / 2) / (tags / 2)) * step((n - most / 2) / (most / 2 + 1)))
    return weights
