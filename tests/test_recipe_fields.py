"""Every field of the recipe is consumed: changing it changes the result in the way it should, or is refused.

A field without a case in `CASES` fails the suite, and so does a case whose field is gone.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from astropy import units as u

import optextract as ox
from optextract.recipe import Section
from optextract.simulate import Line, make_scene

COLUMNS = 300


def leaves(model: type[Section], prefix: str = "") -> Iterator[str]:
    """Dotted names of all fields of a recipe; [] stands for any member of a tuple of sections."""
    for name, info in model.model_fields.items():
        found = list(sections_in(info.annotation))
        for section, many in found:
            yield from leaves(section, f"{prefix}{name}{'[]' if many else ''}.")
        if not found or (name == "given"):  # a trace is a tuple of numbers, or a file
            yield f"{prefix}{name}"


def sections_in(annotation: Any, many: bool = False) -> Iterator[tuple[type[Section], bool]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation, many
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType, tuple, typing.Annotated):
        for part in typing.get_args(annotation):
            yield from sections_in(part, many or origin is tuple)


# frames --------------------------------------------------------------------------------------------------------------


def named(name: str, seed: int = 3, **changes: Any) -> ox.Frame:
    return make_scene(name, seed, **{"shape": (25, COLUMNS), **changes}).frame


@lru_cache(maxsize=64)
def frame(kind: str) -> ox.Frame:
    mid = named("mid")
    if kind == "blend":
        return named("blend", shape=(25, COLUMNS))
    if kind == "surface":
        return mid.replace(unit="MJy/sr", meta={**mid.meta, "pixel_area_sr": 5e-13})
    if kind == "faint":
        planned = make_scene("faint", 3, snr=0.15, shape=(25, COLUMNS), planned_sigma=0.0)
        return planned.frame
    if kind == "dim":  # found, but too faint to have a shape of its own: the plan is a prior
        return make_scene("faint", 2, snr=0.6, shape=(25, COLUMNS), planned_sigma=0.6).frame
    if kind == "lines":
        return named("lines", lines=(Line(150.3, 2.6, 25.0),))
    if kind == "bare":  # no variance: gain and read noise are known
        return mid.replace(variance=None, variance_parts=None)
    if kind == "weight":
        return mid.replace(meta={**mid.meta, "weight": 1 / mid.variance})
    if kind == "parts":
        return mid.replace(variance=4 * mid.variance)
    if kind == "data":
        return named("poisson20", counts=200.0, shape=(25, 800))
    if kind == "wings":
        return named("moffat", snr=100.0)
    if kind == "off centre":
        return named("mid", centre=(2.0, 0.0), fwhm=4.0, background=0.0)
    if kind == "holes":
        core = round(ROW)
        mask = np.array(mid.mask)
        mask[core - 1 : core + 1, 40:60] = True
        return mid.replace(mask=mask)
    if kind == "hit":
        flux = np.array(mid.flux)
        core = round(ROW)
        flux[core, 50:250:50] += 12 * np.sqrt(mid.variance[core, 50:250:50])
        return mid.replace(flux=flux)
    if kind == "bright hit":
        bright = make_scene("bright", 3, shape=(25, COLUMNS))
        flux = np.array(bright.frame.flux)
        core = round(float(np.median(bright.truth.centre))) + 1
        flux[core, 50:250:50] += 12 * np.sqrt(bright.frame.variance[core, 50:250:50])
        return bright.frame.replace(flux=flux)
    if kind == "tilted light":  # a background that bends along and across
        return named("mid", background=lambda t: 40 * t**3, background_gradient=0.9)
    if kind == "curved":
        return named("curved", shape=(60, 600), centre=(25.0, 6.0, 5.0), rectified=True)
    return named(kind)


# cases ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A frame, a recipe and a change of it; and what the change must do to the result."""

    on: str
    base: dict[str, Any]
    change: dict[str, Any]
    effect: Callable[[ox.Extraction, ox.Extraction], bool]


def flux_differs(a: ox.Extraction, b: ox.Extraction) -> bool:
    return a.flux.shape != b.flux.shape or not np.array_equal(a.flux, b.flux, equal_nan=True)


def flux_by(factor: float) -> Callable[[ox.Extraction, ox.Extraction], bool]:
    return lambda a, b: np.allclose(b.flux, factor * a.flux, rtol=1e-9, equal_nan=True)


def errors_by(factor: float, tolerance: float = 1e-6) -> Callable[[ox.Extraction, ox.Extraction], bool]:
    return lambda a, b: abs(np.nanmedian(b.uncertainty / a.uncertainty) / factor - 1) < tolerance


def at(value: float) -> dict[str, Any]:
    return {"items": ({"centre": {"value": value}},)}


def width(result: ox.Extraction) -> float:
    return float(np.nanmedian(result.fwhm))


def row(result: ox.Extraction) -> float:
    return float(np.nanmedian(result.centre[0]))


ROW = float(np.median(make_scene("mid", 3, shape=(25, COLUMNS)).truth.centre))
FIXED = {"value": ROW + 0.8, "fixed": True}
MOFFAT = {"kind": "moffat"}
SPACED = {"nods": {"mode": "model"}}


def spaced_by(factor: float) -> Callable[[ox.Extraction, ox.Extraction], bool]:
    return lambda a, b: abs(b.quality["nods"]["offsets"][1] / 5.0 - factor) < 1e-6 and flux_differs(a, b)


CASES: dict[str, Case] = {
    "input.unit": Case("mid", {}, {"input": {"unit": "mJy"}}, lambda a, b: b.unit == u.mJy != a.unit),
    "input.pixel_area_sr": Case("surface", {}, {"input": {"pixel_area_sr": 1e-12}}, flux_by(2.0)),
    "region.cross": Case("mid", {}, {"region": {"cross": (6, 18)}}, lambda a, b: np.isnan(b.model[:6]).all()),
    "region.disp": Case("mid", {}, {"region": {"disp": (50, 250)}}, lambda a, b: np.isnan(b.flux[0, :50]).all()),
    "region.polygon": Case(
        "mid",
        {},
        {"region": {"polygon": ((-1, -1), (400, -1), (400, 20.5), (-1, 20.5))}},
        lambda a, b: np.isnan(b.model[21:]).all() and not np.isnan(b.model[:21]).any(),
    ),
    "kernel.disp": Case(
        "mid", {}, {"kernel": {"disp": (20, 99)}}, lambda a, b: b.kernel.columns == (20, 99) != a.kernel.columns
    ),
    "kernel.combine": Case(
        "mid", {}, {"kernel": {"combine": "mean"}}, lambda a, b: np.nanmean(b.kernel.error) < np.nanmean(a.kernel.error)
    ),
    "sources.number": Case("blend", {}, {"sources": {"number": 2}}, lambda a, b: (a.n_source, b.n_source) == (1, 2)),
    "sources.items[].name": Case(
        "mid",
        {"sources": at(ROW)},
        {"sources": {"items": ({"name": "the blue one", "centre": {"value": ROW}},)}},
        lambda a, b: b.resolved.sources.items[0].name == "the blue one",
    ),
    "sources.items[].centre.value": Case(
        "blend",
        {"sources": at(10.9)},
        {"sources": at(13.4)},
        lambda a, b: row(b) != row(a) or flux_differs(a, b),
    ),
    "sources.items[].centre.fixed": Case(
        "mid",
        {"sources": at(ROW + 0.8), "trace": {"degree": 0}},
        {"sources": {"items": ({"centre": FIXED},)}, "trace": {"degree": 0}},
        lambda a, b: abs(row(a) - ROW) < 0.1 and abs(row(b) - ROW - 0.8) < 0.01,
    ),
    "sources.items[].centre.bounds": Case(
        "mid",
        {"trace": {"degree": 0}},
        {"trace": {"degree": 0}, "sources": {"items": ({"centre": {"bounds": (ROW + 0.5, ROW + 2.0)}},)}},
        lambda a, b: abs(row(a) - ROW) < 0.1 and row(b) >= ROW + 0.49,
    ),
    "sources.find": Case(
        "lines", {}, {"sources": {"find": "lines"}}, lambda a, b: np.nanmax(b.flux / b.uncertainty) > 20
    ),
    "sources.planned": Case("faint", {}, {"sources": {"planned": False}}, lambda a, b: flux_differs(a, b)),
    "sources.planned_sigma": Case(
        "dim",
        {},
        {"sources": {"planned_sigma": 4.0}},
        lambda a, b: abs(row(b) - a.meta["planned_cross"]) > abs(row(a) - a.meta["planned_cross"]),
    ),
    "sources.shape": Case(
        "blend",
        {"sources": {"number": 2}},
        {"sources": {"number": 2, "shape": "separate"}},
        lambda a, b: np.array_equal(a.fwhm[0], a.fwhm[1]) and not np.array_equal(b.fwhm[0], b.fwhm[1]),
    ),
    "profile.kind": Case("mid", {}, {"profile": {"kind": "voigt"}}, lambda a, b: b.resolved.profile.kind == "voigt"),
    "profile.fwhm.value": Case(
        "mid",
        {"profile": {"fwhm": {"value": 1.5, "fixed": True}}},
        {"profile": {"fwhm": {"value": 3.0, "fixed": True}}},
        lambda a, b: np.allclose(b.fwhm, 3.0, rtol=1e-6) and np.allclose(a.fwhm, 1.5, rtol=1e-6),
    ),
    "profile.fwhm.fixed": Case(
        "mid",
        {"profile": {"fwhm": {"value": 1.2}}},
        {"profile": {"fwhm": {"value": 1.2, "fixed": True}}},
        lambda a, b: width(a) > 1.3 and np.allclose(b.fwhm, 1.2),
    ),
    "profile.fwhm.bounds": Case(
        "mid", {}, {"profile": {"fwhm": {"bounds": (1.9, 3.0)}}}, lambda a, b: width(a) < 1.6 and width(b) >= 1.89
    ),
    "profile.index.value": Case(
        "wings",
        {"profile": {**MOFFAT, "empirical": False, "index": {"value": 2.5, "fixed": True}}},
        {"profile": {**MOFFAT, "empirical": False, "index": {"value": 4.0, "fixed": True}}},
        lambda a, b: np.nansum(b.flux) < 0.99 * np.nansum(a.flux) and b.resolved.profile.index.value == 4.0,
    ),
    "profile.index.fixed": Case(
        "wings",
        {"profile": {**MOFFAT, "index": {"value": 6.0}}},
        {"profile": {**MOFFAT, "index": {"value": 6.0, "fixed": True}}},
        lambda a, b: a.resolved.profile.index.value < 4 and b.resolved.profile.index.value == 6.0,
    ),
    "profile.index.bounds": Case(
        "wings",
        {"profile": MOFFAT},
        {"profile": {**MOFFAT, "index": {"bounds": (5.0, 8.0)}}},
        lambda a, b: a.resolved.profile.index.value < 3.5 and b.resolved.profile.index.value >= 5.0,
    ),
    "profile.model": Case(
        "wings",
        {"profile": {"kind": "model", "model": "astropy.modeling.models:Gaussian1D"}},
        {"profile": {"kind": "model", "model": "astropy.modeling.models:Lorentz1D"}},
        lambda a, b: np.nansum(b.flux) > 1.1 * np.nansum(a.flux),
    ),
    "profile.empirical": Case(
        "wings",
        {"profile": {"kind": "gaussian", "empirical": False}},
        {"profile": {"kind": "gaussian", "empirical": True}},
        lambda a, b: np.nansum(b.flux) > 1.01 * np.nansum(a.flux) and b.resolved.profile.empirical is True,
    ),
    "background.degree": Case(
        "mid",
        {"background": {"degree": "none"}},
        {"background": {"degree": 1}},
        lambda a, b: (a.background == 0).all() and b.resolved.background.degree == 1,
    ),
    "background.along": Case(
        "mid",
        {"background": {"degree": 0, "along": "smooth"}},
        {"background": {"degree": 0, "along": "column"}},
        lambda a, b: np.std(np.diff(b.background[3])) > 20 * np.std(np.diff(a.background[3])),
    ),
    "background.along_degree": Case(
        "tilted light",
        {"background": {"degree": 1, "along": "smooth", "along_degree": 0}},
        {"background": {"degree": 1, "along": "smooth", "along_degree": 3}},
        lambda a, b: np.ptp(a.background[3]) < 1e-6 < np.ptp(b.background[3]),
    ),
    "background.rows": Case(
        "tilted light",
        {"background": {"degree": 0, "along": "smooth", "along_degree": 3}},
        {"background": {"degree": 0, "along": "smooth", "along_degree": 3, "rows": ((18, 24),)}},
        lambda a, b: np.abs(b.background[3, -1]) > 1.2 * np.abs(a.background[3, -1]),
    ),
    "trace.degree": Case(
        "curved",
        {"trace": {"degree": 1}},
        {"trace": {"degree": 2}},
        lambda a, b: (a.trace.degree, b.trace.degree) == (1, 2) and flux_differs(a, b),
    ),
    "trace.fwhm_degree": Case(
        "mid",
        {"trace": {"fwhm_degree": 0}},
        {"trace": {"fwhm_degree": 1}},
        lambda a, b: np.ptp(a.fwhm) < 1e-9 < np.ptp(b.fwhm),
    ),
    "trace.given": Case(
        "mid",
        {},
        {"trace": {"given": tuple(np.linspace(ROW - 0.5, ROW + 0.5, COLUMNS))}},
        lambda a, b: np.allclose(b.centre[0], np.linspace(ROW - 0.5, ROW + 0.5, COLUMNS)),
    ),
    "trace.shift": Case(
        "mid",
        {"trace": {"given": (ROW + 0.6,) * COLUMNS}},
        {"trace": {"given": (ROW + 0.6,) * COLUMNS, "shift": True}},
        lambda a, b: abs(row(a) - ROW - 0.6) < 1e-9 and abs(row(b) - ROW) < 0.1,
    ),
    "trace.bins": Case(
        "mid", {}, {"trace": {"bins": 7}}, lambda a, b: b.resolved.trace.bins == 7 and flux_differs(a, b)
    ),
    "noise.variance": Case(
        "parts", {"noise": {"variance": "variance"}}, {"noise": {"variance": "parts"}}, errors_by(0.5, 0.01)
    ),
    "noise.weight_scale": Case(
        "weight",
        {"noise": {"variance": "weight"}},
        {"noise": {"variance": "weight", "weight_scale": 0.5}},
        errors_by(4.0, 0.01),
    ),
    "noise.gain": Case(
        "bare",
        {"noise": {"variance": "gain", "gain": 1.0, "read_noise": 0.0, "revise": False}},
        {"noise": {"variance": "gain", "gain": 4.0, "read_noise": 0.0, "revise": False}},
        errors_by(0.5, 0.05),
    ),
    "noise.read_noise": Case(
        "bare",
        {"noise": {"variance": "gain"}},
        {"noise": {"variance": "gain", "read_noise": 60.0}},
        lambda a, b: np.nanmedian(b.uncertainty) > 3 * np.nanmedian(a.uncertainty),
    ),
    "noise.revise": Case(
        "data",
        {"noise": {"revise": False}},
        {"noise": {"revise": True}},
        # variances taken from the counts themselves make low pixels heavy and the flux too small
        lambda a, b: np.nansum(b.flux) > 1.003 * np.nansum(a.flux),
    ),
    "noise.nod_term": Case("nods", {}, {"noise": {"nod_term": True}}, errors_by(np.sqrt(1.5), 0.02)),
    "noise.scale": Case("mid", {}, {"noise": {"scale": 3.0}}, errors_by(3.0, 0.02)),
    "nods.mode": Case(
        "nods", {"nods": {"mode": "ignore"}}, {"nods": {"mode": "model"}}, lambda a, b: b.resolved.nods.mode == "model"
    ),
    "nods.offsets": Case(
        "nods",
        {"nods": {"mode": "model"}},
        {"nods": {"mode": "model", "offsets": (-5.0, 5.0)}},
        lambda a, b: b.quality["nods"]["offsets"] == (-5.0, 5.0) and flux_differs(a, b),
    ),
    "nods.spacing.value": Case(
        "nods", SPACED, {"nods": {"mode": "model", "spacing": {"value": 1.04, "fixed": True}}}, spaced_by(1.04)
    ),
    "nods.spacing.fixed": Case(
        "nods",
        {"nods": {"mode": "model", "spacing": {"value": 1.1}}},
        {"nods": {"mode": "model", "spacing": {"value": 1.1, "fixed": True}}},
        lambda a, b: a.resolved.nods.spacing.value < 1.05 and spaced_by(1.1)(a, b),
    ),
    "nods.spacing.bounds": Case(
        "nods", SPACED, {"nods": {"mode": "model", "spacing": {"bounds": (1.03, 1.3)}}}, spaced_by(1.03)
    ),
    "nods.depths": Case(
        "nods",
        {"nods": {"mode": "model", "offsets": (-5.0, 5.0, -10.0, 10.0)}},
        {
            "nods": {
                "mode": "model",
                "offsets": (-5.0, 5.0, -10.0, 10.0),
                "depths": (-1 / 3, -1 / 3, -1 / 6, -1 / 6),
            }
        },
        flux_differs,
    ),
    "rejection.mode": Case(
        "hit",
        {"rejection": {"mode": False}},
        {"rejection": {"mode": True}},
        lambda a, b: b.rejected.sum() > a.rejected.sum() == 0,
    ),
    "rejection.threshold": Case(
        "hit", {}, {"rejection": {"threshold": 50.0}}, lambda a, b: a.rejected.sum() >= 4 and b.rejected.sum() == 0
    ),
    "rejection.floor": Case(
        "bright hit",
        {"rejection": {"floor": 0.0}},
        {"rejection": {"floor": 0.5}},
        lambda a, b: a.rejected.sum() > b.rejected.sum(),
    ),
    "rejection.grow": Case(
        "hit", {}, {"rejection": {"grow": 1}}, lambda a, b: b.rejected.sum() >= a.rejected.sum() + 8
    ),
    "flux.window": Case(
        "off centre",
        {"flux": {"window": "infinite"}},
        {"flux": {"window": "region"}},
        lambda a, b: np.nansum(b.flux) < 0.95 * np.nansum(a.flux),
    ),
    "flux.min_profile": Case(
        "holes",
        {"flux": {"min_profile": 0.0}},
        {"flux": {"min_profile": 0.9}},
        lambda a, b: np.isnan(b.flux[0, 40:60]).all() and np.isfinite(a.flux[0, 40:60]).any(),
    ),
    "flux.boxcar_width": Case(
        "mid",
        {},
        {"flux": {"boxcar_width": 9.0}},
        lambda a, b: (
            np.allclose(b.boxcar.upper - b.boxcar.lower, 9.0) and not np.allclose(a.boxcar.upper - a.boxcar.lower, 9.0)
        ),
    ),
}


def tilts(name: str, degree: str, off: float) -> dict[str, Case]:
    """Cases of a coefficient: held where it is not, allowed only where it is not."""

    def asked(**asked: Any) -> dict[str, Any]:
        return {"trace": {degree: 1, name: (asked,)}}

    def found(result: ox.Extraction) -> float:
        return float(getattr(result.trace, name)[0, 1])

    other, limits = asked(value=-off, fixed=True), (off - 0.1, off + 0.1)
    return {
        "value": Case("mid", other, asked(value=off, fixed=True), lambda a, b: (found(a), found(b)) == (-off, off)),
        "fixed": Case("mid", asked(value=off), asked(value=off, fixed=True), lambda a, b: found(a) != found(b) == off),
        "bounds": Case(
            "mid", asked(), asked(bounds=limits), lambda a, b: found(a) < limits[0] <= found(b) <= limits[1]
        ),
    }


for tilted in (("coefficients", "degree", 0.8), ("fwhm_coefficients", "fwhm_degree", 0.5)):
    CASES.update({f"trace.{tilted[0]}[].{part}": case for part, case in tilts(*tilted).items()})

#: Fields that need a file, each with a test of its own in test_recipe_files.py.
WITH_FILE = {
    "schema_version",
    "input.dq_bits",
    "region.mask.path",
    "region.mask.sha256",
    "profile.template.path",
    "profile.template.sha256",
    "profile.template_size",
    "profile.template_interpolation",
    "profile.template_dispersion",
    "profile.template_broaden",
    "trace.given.path",
    "trace.given.sha256",
    "input.mapping.flux",
    "input.mapping.variance",
    "input.mapping.variance_kind",
    "input.mapping.mask",
    "input.mapping.wavelength",
    "input.mapping.wavelength_unit",
    "input.mapping.wavelength_polynomial",
    "input.mapping.disp_axis",
}


def test_every_field_has_a_case():
    assert set(leaves(ox.Recipe)) == set(CASES) | WITH_FILE


def test_a_new_field_would_be_seen():
    class Wider(ox.Recipe):
        extra: int = 0

    assert set(leaves(Wider)) - set(CASES) - WITH_FILE == {"extra"}


@lru_cache(maxsize=256)
def extracted(on: str, recipe: ox.Recipe) -> ox.Extraction:
    return ox.extract(frame(on), recipe)


@pytest.mark.parametrize("field", CASES)
def test_field_does_what_it_says(field):
    case = CASES[field]
    base, changed = ox.Recipe(**case.base), ox.Recipe(**case.change)
    assert base != changed
    assert case.effect(extracted(case.on, base), extracted(case.on, changed))


@pytest.mark.parametrize("field", CASES)
def test_nothing_is_automatic_in_a_resolved_recipe_and_it_is_accepted(field):
    case = CASES[field]
    resolved = extracted(case.on, ox.Recipe(**case.change)).resolved
    assert ox.Recipe.from_yaml(resolved.to_yaml(full=True)) == resolved

    def automatic(value: Any, where: str) -> Iterator[str]:
        if isinstance(value, dict):
            for key, item in value.items():
                yield from automatic(item, f"{where}.{key}")
        elif value == "auto":
            yield where

    assert list(automatic(resolved.model_dump(), "recipe")) == []


def test_frames_of_the_cases_are_what_their_names_say():
    """Guards the table: a case on a frame without what it is about would prove nothing."""
    assert frame("bare").variance is None
    assert np.isfinite(frame("faint").meta["planned_cross"])
    assert frame("nods").meta["nod_offsets"] == (-5.0, 5.0, -10.0, 10.0)
    assert "planned_cross" not in frame("mid").meta
