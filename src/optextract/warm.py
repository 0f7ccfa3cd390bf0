"""Compile all loops now, so that nobody waits for them in the middle of work: ``python -m optextract.warm``.

The first extraction after an installation compiles what it needs, which takes about a minute; what was compiled is
kept on disk, beside the package or, where that cannot be written to, in the user's folder for caches.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import numpy as np

from .aperture import boxcar
from .compiled import search
from .frame import Frame
from .pipeline import extract
from .profiles import Gaussian
from .recipe import Recipe

__all__ = ["is_warm", "warm"]

_log = logging.getLogger(__name__)

#: Together these go through every loop of an extraction.
_RECIPES: tuple[dict[str, Any], ...] = (
    {},
    {"profile": {"kind": "moffat"}, "sources": {"number": 2}},
    {"sources": {"find": "lines"}},
    {"nods": {"mode": "model", "offsets": (-6.0, 6.0)}, "background": {"degree": 1, "along": "column"}},
    {"region": {"cross": (16.0, 24.0)}},  # beside the source: where nothing is found, lines are looked for
)


def _small_frame() -> Frame:
    """A bright source with two hits and two lines, photon noise from its own pixels and a sky that is bent, 25 x 200.

    The faint hit is one only where the trace is known well, so that what was found before is revised; one line is so
    bright that trace and width are fitted to its columns, the other more compact than the continuum.
    """
    random = np.random.default_rng(1)
    centre = np.full(200, 8.2)
    profile, compact = (Gaussian().integrate(25, centre, np.full(200, fwhm)).T for fwhm in (2.8, 2.1))
    line = 100_000.0 * np.exp(-0.5 * ((np.arange(200) - 150) / 2.5) ** 2)
    light = np.full(200, 20_000.0)
    light[20:25] = 1e6
    sky = 20.0 + 40.0 * np.linspace(-1.0, 1.0, 25)[:, None] ** 2
    flux = random.poisson(light * profile + line * compact + sky).astype(float)
    flux[8:10, 100] += 30_000.0
    flux[9, 60] += 1_000.0
    variance = np.maximum(flux, 1.0) + 9.0
    parts = {"poisson": variance - 9.0}
    return Frame(flux - 20.0, variance=variance, variance_parts=parts, meta={"rectified": True})


def is_warm() -> bool:
    """Tell whether the loops lie on disk, compiled by an earlier process: by the last one that `warm` comes to."""
    last = search.along_path
    last(np.zeros((1, 3)), np.ones((1, 3)), np.zeros(1, dtype=np.intp), np.ones(3), np.empty(1))
    return not getattr(last, "stats").cache_misses  # noqa: B009  (numba's; to a type checker it is a function)


def warm() -> None:
    """Run every compiled loop once, on a frame that is made here."""
    start = time.perf_counter()
    frame = _small_frame()
    boxcar(frame, 9.5, 14.5)
    for fields in _RECIPES:
        extract(frame, Recipe(**fields))
    _log.info("the compiled loops are there, after %.1f s", time.perf_counter() - start)


if __name__ == "__main__":
    warm()
