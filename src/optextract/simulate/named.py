"""Named scenes: the cases that an extraction has to get right."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from optextract.errors import bad_value

from .scene import Line, Scene, scene

__all__ = ["SCENES", "make_scene"]

#: Arguments of `scene` by name. 25 x 1298 pixels at FWHM 1.1 to 1.8 unless said otherwise.
SCENES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "faint": {"snr": 3.0},
        "mid": {"snr": 20.0},
        "bright": {"snr": 300.0},
        "moffat": {"snr": 60.0, "profile": "moffat", "index": 2.5},
        # no sky, so that the counts of the source are what its noise is made of
        "poisson20": {
            "counts": 20.0,
            "variance": "data",
            "sky": 0.0,
            "background": (1.0, 0.3),
            "read_noise": 1.5,
        },
        "curved": {
            "shape": (100, 2048),
            "snr": 30.0,
            "centre": (42.0, 12.0, 14.0),
            "fwhm": (2.4, 0.7, 0.2),
            "rectified": False,
        },
        "blend": {"snr": 40.0, "separation": 2.0, "ratio": 0.7, "centre": (10.9, 0.15)},
        "cosmic": {"snr": 30.0, "cosmic_rate": 0.004, "nan_fraction": 0.01, "zero_fraction": 0.01},
        "gap": {"snr": 30.0, "gap": (560, 690)},
        "nods": {
            # per exposure, and limited by the sky: subtracting it costs sqrt(1.5) in noise
            "snr": 6.0,
            "nod_step": 5,
            "background": 0.0,
            "sky": 4000.0,
            "centre": (12.2, 0.1),
        },
        "vertical": {"snr": 20.0, "dispaxis": 2},
        "empty": {"sources": 0},
        "lines": {
            "snr": 0.0,
            "lines": (Line(410.3, 2.6, 12.0), Line(799.0, 2.6, 25.0), Line(821.6, 2.6, 60.0)),
        },
        "emission": {
            "snr": 8.0,
            "lines": (Line(410.3, 2.6, 30.0), Line(799.0, 2.6, 40.0), Line(821.6, 2.6, 100.0)),
        },
    }
)


def make_scene(name: str, seed: int = 0, **changes: Any) -> Scene:
    """Build a named scene.

    Parameters
    ----------
    name : str
        One of `SCENES`.
    seed : int, optional
        Seed of the noise, and of where within a pixel the trace lies: each seed is a source of its own.
    **changes
        Arguments of `scene` that replace the named scene's.

    Returns
    -------
    Scene
        Frame and truth.

    Raises
    ------
    OptextractError
        If there is no scene of that name.
    """
    if name not in SCENES:
        raise bad_value("name", "make_scene", f"one of {', '.join(SCENES)}", name)
    settings = {**SCENES[name], **changes}
    if "centre" not in changes:
        first, *rest = np.atleast_1d(settings.get("centre", (11.8, 0.15)))
        settings["centre"] = (first + np.random.default_rng([seed, 1]).uniform(-0.5, 0.5), *rest)
    return scene(name=name, seed=seed, **settings)
