"""How the loops are compiled."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit
from numba.core import event
from numpy.typing import NDArray

__all__ = ["compiled", "contiguous"]

Function = TypeVar("Function", bound=Callable[..., Any])

_FLOAT = np.dtype(np.float64)

_log = logging.getLogger(__name__)

#: Sums may be taken in another order, which is what lets them use vector instructions; NaN and infinity keep their
#: meaning. A sum stands in a loop that writes nothing: of one that writes the compiler makes two, and where the arrays
#: lie in memory tells which is taken, and with it the last bits. ``tests/test_reproducible.py`` holds that.
_OPTIONS: dict[str, Any] = {
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "nsz"},
    "nogil": True,
    "no_cfunc_wrapper": True,  # nobody calls them from C
}


class _Announcer(event.Listener):
    """Says once that loops are being compiled: an extraction that takes a minute in silence seems to hang."""

    said = False

    def on_start(self, event: event.Event) -> None:
        # of anybody's functions, and one made by `exec` has no module
        module = getattr(event.data["dispatcher"].py_func, "__module__", None)
        ours = isinstance(module, str) and module.startswith(f"{__package__}.")
        if ours and not self.said:
            self.said = True
            _log.warning(
                "Compiling loops that are not on disk yet: once after an installation this takes about a minute "
                "(python -m optextract.warm does it ahead)."
            )

    def on_end(self, event: event.Event) -> None:
        """Nothing is said at the end."""


# what numba finds on disk is no event
event.register("numba:compile", _Announcer())


def compiled(function: Function) -> Function:
    """Compile at the first call and keep what was compiled beside the module, or in the user's folder for caches.

    Parameters
    ----------
    function : callable
        Of arrays and numbers. What begins with an underscore is called by other loops only.

    Returns
    -------
    callable
    """
    options = _OPTIONS | {"no_cpython_wrapper": function.__name__.startswith("_")}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # there is no folder that can be written to: compiled anew in each session
        return njit(**options)(function)


def contiguous(array: NDArray[Any]) -> NDArray[np.float64]:
    """The array as the loops want it: any other layout or type would be compiled anew.

    Parameters
    ----------
    array : ndarray
        Of any numbers.

    Returns
    -------
    ndarray of float64, C-contiguous
        The same where it is so already.
    """
    if type(array) is np.ndarray and array.dtype is _FLOAT and array.flags.carray:
        return array  # as nearly always: four hundred times in an extraction
    same = np.ascontiguousarray(array, dtype=np.float64)
    return same if same.flags.writeable else same.copy()  # what may not be written to is another type
