"""``describe`` as a transformer with the interface of scikit-learn, which is not required."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from ase import Atoms

from tripletjax.basis.densities import Mixing
from tripletjax.descriptors.base import as_descriptor, known_frames, layout_of
from tripletjax.descriptors.description import describe
from tripletjax.descriptors.estimator import Estimator
from tripletjax.descriptors.kinds import Kind, checked_hypers, kind_of, read_by
from tripletjax.descriptors.protocol import EnvironmentDescriptor
from tripletjax.descriptors.rows import rows_of
from tripletjax.invariants.nice import Contraction, fit_contraction
from tripletjax.neighbors import check_frames, require_elements
from tripletjax.types import InputError

POOLINGS = (None, "sum", "mean")


class DescriptorTransformer(Estimator):
    """Structures to rows of descriptors, for pipelines, cross-validation and grid searches.

    ``fit`` determines the species, hence the columns, and for kind "correlations" with
    ``components`` the contraction. ``transform`` returns the rows of ``describe``, one per
    environment, or with ``pooling`` their sum or mean over each structure, for estimators that need
    one row per structure.

    Args:
        kind: as for ``describe``: a name, a ``Kind`` or a descriptor.
        centers, species, dtype, mixing: as for ``describe``; default ``species``: those of ``fit``.
        pooling: None, "sum" or "mean".
        contraction: for kind "correlations"; None with ``components``: fitted.
        components: number of components to keep per block in a fitted contraction.
        **hypers: fields of ``Hypers``; each is a separate parameter, as in
            ``set_params(cutoff=4.0)``.

    Example:
        >>> from ase.build import molecule
        >>> frames = [molecule("H2O"), molecule("CH3OH")]
        >>> soap = DescriptorTransformer("power_spectrum", pooling="mean", n_max=2, l_max=1)
        >>> soap.fit_transform(frames).shape
        (2, 42)
        >>> soap.get_feature_names_out()[0]
        'H n=0 | H n=0 | l=0 parity=+1'
    """

    _made_by_fit = "descriptor_"

    def __init__(
        self,
        kind: str | Kind | EnvironmentDescriptor = "fingerprint",
        *,
        centers: Iterable[int] | None = None,
        species: Iterable[int] | None = None,
        dtype: str | None = None,
        pooling: str | None = None,
        mixing: Mixing | None = None,
        contraction: Contraction | None = None,
        components: int | None = None,
        **hypers: Any,
    ):
        self._parameters = {
            "kind": kind,
            "centers": centers,
            "species": species,
            "dtype": dtype,
            "pooling": pooling,
            "mixing": mixing,
            "contraction": contraction,
            "components": components,
            **hypers,
        }

    def fit(self, frames: Atoms | Iterable[Atoms], y: Any = None) -> "DescriptorTransformer":
        """Determine the columns: the species, and the contraction if it is to be fitted.

        Raises:
            InputError: as for ``describe``; also an unknown pooling.
        """
        pooling = self._parameters["pooling"]
        if pooling not in POOLINGS:
            raise InputError(f"invalid pooling={pooling!r}: expected None, 'sum' or 'mean'")
        kind, hypers = self._parameters["kind"], self._hypers()
        species, components = self._parameters["species"], self._parameters["components"]
        of_kind = isinstance(kind, (str, Kind))
        if of_kind:
            checked_hypers(kind, hypers)
        frames = check_frames(frames)
        elements = require_elements(frames, species).tolist() if of_kind else species
        self.contraction_ = self._parameters["contraction"]
        if components is not None and self.contraction_ is None:
            if not (of_kind and kind_of(kind).contracted):
                raise InputError(f"components={components} is for kind 'correlations', not {kind}")
            self.contraction_ = self._fitted(frames, elements, components)
        arrays = {"contraction": self.contraction_, "mixing": self._parameters["mixing"]}
        self.descriptor_ = as_descriptor(kind, elements, **arrays, **hypers)
        self.elements_ = require_elements(frames, self.descriptor_.elements)
        self.layout_ = layout_of(self.descriptor_)
        return self

    def transform(self, frames: Atoms | Iterable[Atoms]) -> np.ndarray:
        """``[rows, columns]``: rows of ``describe``, or with ``pooling`` one per structure.

        Raises:
            InputError: as for ``describe``; also for species that ``fit`` did not see.
        """
        self._require_fit()
        frames = known_frames(frames, self.descriptor_)
        given = {name: self._parameters[name] for name in ("centers", "dtype")}
        described = rows_of(frames, self.descriptor_, self.layout_, **given)
        pooling = self._parameters["pooling"]
        if pooling is None:
            return described.values
        pooled = np.zeros((len(frames), described.values.shape[1]), described.values.dtype)
        np.add.at(pooled, described.structure, described.values)
        if pooling == "mean":
            counts = np.bincount(described.structure, minlength=len(frames))
            pooled /= np.maximum(counts, 1)[:, None].astype(pooled.dtype)
        return pooled

    def fit_transform(self, frames: Atoms | Iterable[Atoms], y: Any = None) -> np.ndarray:
        """``fit`` and ``transform`` on the same structures."""
        return self.fit(frames, y).transform(frames)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns, as in ``Description.names``."""
        self._require_fit()
        return np.asarray(self.layout_.names, dtype=object)

    def _hypers(self) -> dict[str, Any]:
        own = DescriptorTransformer().get_params()
        return {k: value for k, value in self._parameters.items() if k not in own}

    def _fitted(self, frames: list[Atoms], elements: Any, components: int) -> Contraction:
        hypers = self._hypers()
        given = {name: self._parameters[name] for name in ("centers", "mixing")}
        given |= read_by("density", hypers)
        density = describe(frames, "density", species=elements, **given)
        l = density.columns["l"]
        n_harmonics = (l.max() + 1) ** 2
        shaped = density.values.reshape(len(density.values), 1, -1, n_harmonics)
        return fit_contraction(shaped, hypers.get("nu", 3), components)
