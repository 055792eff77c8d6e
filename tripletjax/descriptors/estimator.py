"""What estimators with the interface of scikit-learn have in common."""

from typing import Any, Self

from tripletjax.types import InputError


class Estimator:
    """Parameters by name, and the state of being fitted."""

    _made_by_fit: str  # an attribute that ``fit`` sets last of all
    _parameters: dict[str, Any]
    _mixin = "TransformerMixin"  # the class of scikit-learn with the same role

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """All parameters by name, as given."""
        return dict(self._parameters)

    def set_params(self, **parameters: Any) -> Self:
        """Change some parameters; takes effect at the next ``fit``."""
        self._parameters.update(parameters)
        return self

    def _require_fit(self) -> None:
        if not self.__sklearn_is_fitted__():
            raise InputError("the estimator has not been fitted; call fit with some structures")

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, self._made_by_fit)

    def __sklearn_tags__(self) -> Any:
        # Only called by scikit-learn, which is therefore installed.
        from sklearn import base  # pyright: ignore[reportMissingImports]

        kinds = getattr(base, self._mixin), base.BaseEstimator
        tags = type("_Tags", kinds, {})().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags

    def __repr__(self) -> str:
        default = type(self)().get_params()
        changed = [
            f"{name}={value!r}"
            for name, value in self._parameters.items()
            if value is not default.get(name) and not _is_same_number(value, default.get(name))
        ]
        return f"{type(self).__name__}({', '.join(changed)})"


def _is_same_number(value: Any, other: Any) -> bool:
    return isinstance(value, int) and isinstance(other, int) and value == other
