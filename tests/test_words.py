"""What the extraction says of its errors and of its negative traces, in words."""

from __future__ import annotations

import numpy as np
import pytest

import optextract as ox
from optextract.locate import locate
from optextract.noise import choose_variance
from optextract.profiles import Gaussian
from optextract.second import second_source
from optextract.simulate import make_scene
from optextract.window import cut

N_CROSS, N_DISP = 30, 1000


def source(snr: float, seed: int, photon: float = 0.0, kernel: tuple[float, ...] = (1.0,)) -> ox.Frame:
    """A source of constant flux; noise of unit variance, and what `photon` adds to it per unit of light."""
    rng = np.random.default_rng(seed)
    profile = Gaussian().integrate(N_CROSS, np.linspace(13.7, 14.9, N_DISP), np.full(N_DISP, 2.5)).T
    flux = snr / np.sqrt((profile**2).sum(axis=0).mean())
    noise = rng.standard_normal((N_CROSS, N_DISP + len(kernel) - 1))
    scaled = np.array(kernel) / np.linalg.norm(kernel)
    smooth = np.stack([np.convolve(row, scaled, "valid") for row in noise])
    data = flux * profile + smooth * np.sqrt(1.0 + photon * flux * profile)
    return ox.Frame(data, variance=np.ones(data.shape))


def said(result: ox.Extraction, words: str) -> list[str]:
    return [line for line in result.quality["warnings"] if words in line]


@pytest.mark.parametrize("kernel", [(1.0, 1.0), (1.0, 2.0, 1.0)])
def test_errors_that_are_right_for_a_column_and_not_for_a_line_are_told(kernel):
    result = ox.extract(source(20.0, 1, kernel=kernel))
    assert 0.8 < result.quality["pull"]["profile"] < 1.25
    (line,) = said(result, "neighbouring columns are correlated")
    assert f"{result.quality['pull']['bin10']:.2f} times too small" in line
    assert line in result.quality["noise"]


@pytest.mark.parametrize("snr", [10.0, 200.0])
def test_a_variance_without_the_source_s_photon_noise_is_told(snr):
    result = ox.extract(source(snr, 2, photon=0.5))
    (line,) = said(result, "the variance lacks photon noise of the source")
    assert line.startswith("Residuals on the source are ")
    assert "beside it 1.0" in line or "beside it 0.9" in line


@pytest.mark.parametrize("name", ["faint", "mid", "bright", "moffat", "poisson20", "cosmic", "gap"])
def test_of_honest_errors_nothing_is_said(name):
    result = ox.extract(make_scene(name, 7).frame)
    assert not said(result, "correlated")
    assert not said(result, "photon noise of the source")


def nods(n_cross: int, row: float) -> tuple[ox.Frame, np.ndarray]:
    columns = np.arange(400)
    fwhm, flux = 1.1 + 1.6 * columns / 400, 60.0 * (1.2 - 0.6 * columns / 400)
    places = ((0.0, 1.0), (-10.6, -1 / 3), (-5.3, -2 / 3), (5.3, -2 / 3), (10.6, -1 / 3))
    light = sum(depth * Gaussian().integrate(n_cross, np.full(400, row + away), fwhm).T for away, depth in places)
    data = flux * light + np.random.default_rng(3).standard_normal((n_cross, 400))
    meta = {"planned_cross": row, "nod_offsets": tuple(away for away, _ in places[1:]), "nod_noise": "included"}
    return ox.Frame(data, variance=np.ones(data.shape), meta=meta), flux


def test_negatives_of_a_source_at_the_edge_are_modelled():
    """A mask would leave rows on one side of it only, from where the background has to be extrapolated."""
    frame, flux = nods(24, 4.0)
    result = ox.extract(frame)
    assert result.resolved.nods.mode == "model"
    assert np.isfinite(result.flux).all()
    assert np.mean(result.flux[0] / flux) == pytest.approx(1.0, abs=0.008)


def test_the_way_out_of_a_mask_is_one_that_was_not_taken():
    frame, _ = nods(24, 12.0)
    near = ox.Frame(frame.flux, variance=frame.variance, meta={**frame.meta, "nod_offsets": (-3.0, 3.0)})
    (line,) = said(
        ox.extract(near, ox.Recipe(nods={"mode": "mask"})), "The masks of the negative traces reach a source"
    )
    assert line.endswith("nods.mode: model or auto keeps them.")


@pytest.mark.parametrize(("number", "advice"), [(1, "2 or auto"), ("auto", "2")])
def test_the_way_out_of_one_source_is_one_that_was_not_taken(number, advice):
    """Where auto has decided for one, only a number can make it two."""
    frame, recipe = make_scene("blend", 2).frame, ox.Recipe()
    window = cut(frame, np.ones(frame.shape, dtype=bool), choose_variance(frame, recipe.noise), 1.0)
    start = locate(frame, window, recipe)
    found = ox.extract(frame)
    centre, fwhm = found.centre - window.row, found.fwhm
    recipe = recipe.updated(sources={"number": number})
    (line,) = second_source(window, start, centre, fwhm, Gaussian(), recipe, found.model.T, poor=True)
    assert line.endswith(f"set sources.number to {advice}.")


@pytest.mark.parametrize(
    ("background", "region"),
    [
        ({"degree": 1, "along": "column"}, {"cross": (9, 51)}),
        ({"degree": 3, "along": "column"}, {}),
        ({"degree": 2, "along": "column", "rows": [(12, 21), (38, 47)]}, {}),
    ],
)
def test_what_a_background_takes_of_the_scatter_is_no_error(background, region):
    """Rows that decide a background in each column scatter less about it than their errors say."""
    rng = np.random.default_rng(4)
    profile = Gaussian().integrate(60, np.linspace(28.4, 30.4, 1000), np.full(1000, 4.0)).T
    data = 60.0 * profile + 10.0 + rng.standard_normal(profile.shape)
    frame = ox.Frame(data, variance=np.ones(data.shape))
    result = ox.extract(frame, ox.Recipe(background=background, region=region, noise={"scale": "auto"}))
    assert result.quality["pull"]["profile"] == pytest.approx(1.0, abs=0.08)
    assert result.quality["pull"]["pixel"] == pytest.approx(1.0, abs=0.04)
    assert result.quality["noise_scale"] == 1.0
    assert result.quality["warnings"] == ()
