"""The figures of the text, drawn while Sphinx runs: scenes of known truth, extracted by the code that is documented."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import optextract as ox
from optextract.profiles import Gaussian
from optextract.report.figures import summary_figure
from optextract.simulate import make_scene

BLUE, RED, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "0.55"


def start() -> Any:
    """The summary figure of the sample that the five-minute start extracts."""
    scene = make_scene("emission", 0, planned_sigma=0.1).calibrated()
    return summary_figure(scene.frame, ox.extract(scene.frame))


def pixels() -> Any:
    """What an integer, an edge and a fraction of a pixel are."""
    figure, axes = plt.subplots(figsize=(7.2, 3.1), layout="constrained")
    rows, columns = 5, 9
    image = (
        np.random.default_rng(3).normal(0, 0.6, (rows, columns))
        + Gaussian().integrate(rows, 2.3 + 0.05 * np.arange(columns), np.full(columns, 1.6)).T * 9.0
    )
    axes.imshow(image, origin="lower", cmap="Greys", extent=(-0.5, columns - 0.5, -0.5, rows - 0.5))
    for edge in np.arange(-0.5, columns):
        axes.axvline(edge, color="white", lw=0.8)
    for edge in np.arange(-0.5, rows):
        axes.axhline(edge, color="white", lw=0.8)
    axes.plot(np.arange(columns), 2.3 + 0.05 * np.arange(columns), color=BLUE, label="trace: centre 2.30 at column 0")
    axes.plot([3], [1], "o", color=RED, label="integer coordinates (column 3, row 1): a pixel's centre")
    axes.axhspan(0.5, 3.7, color=GREEN, alpha=0.15, lw=0)
    for edge in (0.5, 3.7):
        name = "boxcar(frame, 0.5, 3.7): rows 1, 2, 3 and a fifth of row 4"
        axes.axhline(edge, color=GREEN, ls="--", lw=1.5, label=name if edge == 0.5 else None)
    axes.set_xlabel("disp: dispersion, axis 1 (pixel)")
    axes.set_ylabel("cross: cross-dispersion,\naxis 0 (pixel)")
    axes.set_xticks(range(columns))
    axes.set_yticks(range(rows))
    figure.legend(loc="outside lower center", fontsize=8, frameon=False)
    return figure


def integrated() -> Any:
    """Flux that a profile sampled at pixel centres gives, against the width."""
    fwhm = np.linspace(0.9, 4.0, 63)
    shifts = np.linspace(-0.5, 0.5, 41)
    sampled, low, high = [], [], []
    for width in fwhm:
        centre = 12 + shifts
        true = Gaussian().integrate(25, centre, np.full(len(centre), width))
        u = (np.arange(25) - centre[:, None]) / width
        guess = Gaussian().pdf(u) / width
        ratio = (guess * true).sum(axis=1) / (guess**2).sum(axis=1)
        sampled.append(ratio.mean())
        low.append(ratio.min())
        high.append(ratio.max())
    figure, axes = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
    axes.axvspan(1.1, 1.7, color="0.92", label="NIRSpec, drizzled: FWHM 1.1 to 1.7 px")
    axes.fill_between(fwhm, low, high, color=RED, alpha=0.25, lw=0, label="... over all positions within a pixel")
    axes.plot(fwhm, sampled, color=RED, label="Gaussian sampled at pixel centres, mean")
    axes.axhline(1, color=BLUE, label="Gaussian integrated over pixels")
    axes.set_xlabel("FWHM (pixel)")
    axes.set_ylabel("flux / true flux")
    axes.legend(fontsize=8)
    return figure


def noise() -> Any:
    """Pulls of source-free data, alone and binned: independent pixels, and pixels that share their noise."""
    scene = make_scene("mid", 4, shape=(41, 1298), centre=(20.0, 0.1))
    clean = scene.truth.model
    hiss = scene.frame.flux - clean
    # a resampled pixel holds a quarter of each neighbour's noise; its own error is stated without a fault
    shared = 0.5 * hiss + 0.25 * (np.roll(hiss, 1, axis=1) + np.roll(hiss, -1, axis=1))
    frames = {
        "independent pixels": scene.frame,
        "resampled: neighbours share noise": scene.frame.replace(
            flux=clean + shared, variance=0.375 * scene.frame.variance, variance_parts=None
        ),
    }
    figure, axes = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
    kinds = ["pixel", "profile", "bin5", "bin10", "bin20"]
    for shift, (name, frame), colour in zip((-0.2, 0.2), frames.items(), (BLUE, RED), strict=True):
        pulls = ox.extract(frame).quality["pull"]
        axes.bar(np.arange(5) + shift, [pulls[kind] for kind in kinds], 0.38, color=colour, label=name)
    axes.axhline(1, color="black", lw=0.8)
    axes.axhspan(0.8, 1.25, color="0.92", zorder=0, label="0.8 to 1.25: no warning")
    axes.set_xticks(range(5), ["a pixel", "a column", "5 columns", "10 columns", "20 columns"])
    axes.set_ylabel("scatter / stated error")
    axes.set_ylim(0, 2.2)
    axes.legend(fontsize=8, loc="upper left")
    return figure


def blend() -> Any:
    """Two sources two pixels apart, extracted together and as one."""
    scene = make_scene("blend", 1)
    both = ox.extract(scene.frame, ox.Recipe(sources={"number": 2}))
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.2), layout="constrained", width_ratios=(1, 1.6))
    kernel = both.kernel
    left.errorbar(kernel.rows, kernel.data, kernel.error, fmt="o", ms=3, color="black", label="slice")
    left.plot(kernel.rows, kernel.model, color="black", lw=1, label="fit")
    # as the truth has them: from below
    for number, source, colour in zip((0, 1), np.argsort(kernel.centres), (BLUE, RED), strict=True):
        left.plot(kernel.rows, kernel.components[source], color=colour, lw=1.2, label=f"source {number + 1}")
        binned = both.flux[source][:1290].reshape(-1, 15)
        column = np.arange(1290).reshape(-1, 15).mean(axis=1)
        right.plot(column, np.nanmean(binned, axis=1), ".", color=colour, ms=4)
        right.plot(scene.truth.flux[number], color=colour, lw=1, label=f"truth of source {number + 1}")
    left.set_xlim(4, 20)
    left.set_xlabel("cross-dispersion (pixel)")
    left.set_ylabel("mean per column (electrons)")
    left.legend(fontsize=8)
    right.set_xlabel("dispersion (pixel)")
    right.set_ylabel("flux, mean of 15 columns (electrons)")
    right.set_ylim(0, None)
    right.legend(fontsize=8)
    return figure


def lines() -> Any:
    """A source without continuum: what the coadded slice sees, and what the search for lines finds."""
    scene = make_scene("lines", 0)
    result = ox.extract(scene.frame, ox.Recipe(sources={"find": "lines"}))
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(7.6, 4.2), layout="constrained", sharex=True)
    limit = 4 * np.nanstd(scene.frame.flux)
    top.imshow(scene.frame.flux, origin="lower", aspect="auto", cmap="Greys", vmin=-limit, vmax=limit)
    top.plot(result.centre[0], color=BLUE, lw=1, label="trace")
    top.set_ylabel("cross-dispersion\n(pixel)")
    top.legend(fontsize=8)
    bottom.plot(result.flux[0], color=BLUE, lw=0.7, label="extracted")
    bottom.plot(scene.truth.flux[0], color=RED, lw=1, label="truth")
    bottom.set_xlabel("dispersion (pixel)")
    bottom.set_ylabel("flux (electrons)")
    bottom.legend(fontsize=8)
    return figure


FIGURES: dict[str, Callable[[], Any]] = {
    "start": start, "pixels": pixels, "integrated": integrated, "noise": noise, "blend": blend, "lines": lines,
}  # fmt: skip


def draw_all(folder: Path) -> None:
    """Draw every figure into a folder."""
    with matplotlib.rc_context({"font.size": 9, "savefig.dpi": 130}):
        for name, draw in FIGURES.items():
            figure = draw()
            figure.savefig(folder / f"{name}.png")
            plt.close(figure)
