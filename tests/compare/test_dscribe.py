"""The power spectrum against DScribe's SOAP, for DScribe's own radial functions."""

import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import molecule
from scipy.special import ive

from tripletjax.basis.angular import spherical_harmonics
from tripletjax.descriptors.conventions import full_power_spectrum
from tripletjax.invariants.correlations import power_spectrum

SOAP = pytest.importorskip("dscribe.descriptors").SOAP
SIGMA, CUTOFF, N_MAX, L_MAX = 0.5, 4.0, 3, 2


def radial_integrals(r, alphas, betas):
    """4π ∫ x² g_nl exp(-(r² + x²)/2σ²) i_l(r x/σ²) dx, g_nl = Σ_k β_nk x^l exp(-α_k x²), [l, n]."""
    x, weights = np.polynomial.legendre.leggauss(400)
    x, weights = (x + 1) * 8.0, weights * 8.0
    integrals = np.zeros((L_MAX + 1, N_MAX))
    for l in range(L_MAX + 1):
        z = max(r, 1e-9) * x / SIGMA**2
        bessel = np.sqrt(np.pi / (2 * z)) * ive(l + 0.5, z)
        envelope = np.exp(-0.5 * ((r - x) / SIGMA) ** 2)
        functions = betas[l] @ (x**l * np.exp(-alphas[l][:, None] * x**2))  # [n, x]
        integrals[l] = 4 * np.pi * functions @ (weights * x**2 * envelope * bessel)
    return integrals


def test_soap_of_ethanol():
    ethanol = molecule("CH3CH2OH")
    elements = np.unique(ethanol.numbers).tolist()
    soap = SOAP(species=elements, r_cut=CUTOFF, n_max=N_MAX, l_max=L_MAX, sigma=SIGMA, rbf="gto")
    theirs = soap.create(ethanol, centers=[0])[0]
    alphas, betas = soap.get_basis_gto(CUTOFF, N_MAX, L_MAX)

    density = np.zeros((len(elements), N_MAX, (L_MAX + 1) ** 2))
    for number, vector in zip(
        ethanol.numbers, ethanol.positions - ethanol.positions[0], strict=True
    ):
        r = np.linalg.norm(vector)
        direction = vector / r if r > 0 else np.array([0.0, 0.0, 1.0])
        harmonics = spherical_harmonics(direction, L_MAX)
        integrals = radial_integrals(r, alphas, betas)
        for l in range(L_MAX + 1):
            part = slice(l * l, (l + 1) ** 2)
            density[elements.index(number), :, part] += np.outer(integrals[l], harmonics[part])

    values = np.asarray(power_spectrum(jnp.asarray(density)))[None]
    ours = np.pi * np.sqrt(8) * full_power_spectrum(values, len(elements) * N_MAX)[0]  # [l, q, q']
    for i, a in enumerate(elements):
        for j, b in enumerate(elements[i:], start=i):
            block = ours[:, i * N_MAX : (i + 1) * N_MAX, j * N_MAX : (j + 1) * N_MAX]
            pairs = [
                (n, k) for n in range(N_MAX) for k in range(n if i == j else 0, N_MAX)
            ]  # fmt: skip
            expected = theirs[soap.get_location((a, b))].reshape(L_MAX + 1, len(pairs)).T
            actual = np.array([block[:, n, k] for n, k in pairs])
            np.testing.assert_allclose(actual, expected, atol=1e-8 * np.abs(theirs).max())
