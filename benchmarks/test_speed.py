"""Speed, side by side in one run: `make bench`. Nothing here asserts a time; figures go to docs/benchmarks.md."""

from __future__ import annotations

import os
from pathlib import Path

import notebook
import pytest
from methods import boxcar, horne_gaussian, horne_interpolated, image_of, with_specreduce

import optextract as ox
from optextract.simulate import make_scene, scene

DATA = Path(os.environ.get("OPTEXTRACT_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
SMACS = DATA / "nirspec_mos_smacs_6355" / "jw02736-o007_s06355_nirspec_f290lp-g395m_s2d.fits"


def timed(benchmark, label: str, order: int, call, rounds: int = 15):
    """One labelled line of a table."""
    benchmark.extra_info.update(label=label, order=order)
    return benchmark.pedantic(call, rounds=rounds, warmup_rounds=2, iterations=1)


@pytest.fixture(scope="module")
def mid() -> ox.Frame:
    return make_scene("mid", 1).frame


def horne_alone(frame: ox.Frame):
    """HorneExtract by itself: trace and background are there already."""
    from specreduce.extract import HorneExtract
    from specreduce.tracing import FlatTrace

    image = image_of(frame)
    trace = FlatTrace(image, 11.8)
    return lambda: HorneExtract(image, trace)()


CHAINS = {
    "optextract: all defaults": lambda frame: lambda: ox.extract(frame),
    "optextract: Gaussian": lambda frame: (
        lambda: ox.extract(frame, ox.Recipe(profile={"kind": "gaussian", "empirical": False}))
    ),
    "optextract: boxcar alone": lambda frame: lambda: ox.boxcar(frame, 9.5, 14.5),
    "notebook's method": lambda frame: lambda: notebook.extract(frame),
    "specreduce: trace, background, Gaussian Horne": lambda frame: lambda: with_specreduce(frame, horne_gaussian),
    "specreduce: Gaussian Horne alone": horne_alone,
    "specreduce: trace, background, interpolated Horne": lambda frame: (
        lambda: with_specreduce(frame, horne_interpolated)
    ),
    "specreduce: trace, background, boxcar": lambda frame: lambda: with_specreduce(frame, boxcar),
}


@pytest.mark.benchmark(group="One frame, 25 x 1298")
@pytest.mark.parametrize("name", CHAINS)
def test_one_frame(benchmark, mid, name):
    timed(benchmark, name, list(CHAINS).index(name), CHAINS[name](mid))


@pytest.mark.benchmark(group="A real file, SMACS 6355, 41 x 1215")
@pytest.mark.parametrize("name", ["extract", "specreduce", "read"])
def test_real_file(benchmark, name):
    if not SMACS.is_file():
        pytest.skip(f"real data are absent: there is no {SMACS}")
    frame = ox.read(SMACS)
    calls = {
        "extract": ("optextract: all defaults", lambda: ox.extract(frame)),
        "specreduce": (
            "specreduce: trace, background, Gaussian Horne (gives NaN here)",
            lambda: with_specreduce(frame, horne_gaussian),
        ),
        "read": ("optextract: reading the file", lambda: ox.read(SMACS)),
    }
    label, call = calls[name]
    timed(benchmark, label, list(calls).index(name), call)


@pytest.mark.benchmark(group="Cost against the number of columns, 25 rows")
@pytest.mark.parametrize("columns", [500, 1000, 2000, 5000, 10_000, 20_000])
def test_cost_is_linear_in_columns(benchmark, columns):
    frame = scene(snr=20.0, shape=(25, columns), seed=1).frame
    timed(benchmark, f"{columns} columns", columns, lambda: ox.extract(frame), rounds=5)


VARIANTS = {
    "defaults": {},
    "no rejection": {"rejection": {"mode": False}},
    "Moffat": {"profile": {"kind": "moffat"}},
    "background per column": {"background": {"degree": 1, "along": "column"}},
    "no background": {"background": {"degree": "none"}},
    "two sources": {"sources": {"number": 2}},
    "number of sources by the evidence": {"sources": {"number": "auto"}},
    # the true one: a wrong one costs what it takes to judge the thousands of pixels that do not fit it
    "trace told": {"trace": {"given": tuple(make_scene("mid", 1).truth.centre[0].tolist())}},
}


@pytest.mark.benchmark(group="What a choice costs, 25 x 1298")
@pytest.mark.parametrize("name", VARIANTS)
def test_variants(benchmark, mid, name):
    recipe = ox.Recipe(**VARIANTS[name])
    timed(benchmark, name, list(VARIANTS).index(name), lambda: ox.extract(mid, recipe))
