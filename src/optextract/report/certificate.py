"""The figure of a certificate: bias, pull and completeness against S/N. Matplotlib is imported inside functions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["certificate_figure", "save_certificate"]


class _Certificate(Protocol):
    """What is drawn: an `optextract.validate.Certificate`."""

    @property
    def levels(self) -> tuple[float, ...]: ...

    @property
    def name(self) -> str: ...

    @property
    def place(self) -> str: ...

    def at(self, level: float) -> dict[str, float]: ...

    def words(self) -> tuple[str, ...]: ...


def certificate_figure(certificate: _Certificate) -> Figure:
    """Draw a certificate.

    Parameters
    ----------
    certificate : Certificate
        From `optextract.validate.validate`.

    Returns
    -------
    Figure
        Not attached to any window.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter, NullLocator, ScalarFormatter

    figure = Figure(figsize=(11, 3.9), layout="constrained")
    FigureCanvasAgg(figure)
    rows = [certificate.at(level) for level in certificate.levels]
    x = np.array([row["snr"] for row in rows])

    def column(name: str, factor: float = 1.0) -> Any:
        return factor * np.array([row[name] for row in rows])

    panels = (
        ("flux bias (%)", column("bias", 100), column("bias_error", 100), 0.0),
        ("pull rms (found - true, in σ)", column("pull_rms"), column("pull_rms_error"), 1.0),
        ("found within 1 px (%)", column("completeness", 100), None, 100.0),
    )
    for axes, (label, values, errors, expected) in zip(figure.subplots(1, 3), panels, strict=True):
        axes.axhline(expected, color="0.55", lw=1)
        axes.errorbar(x, values, errors, fmt="o-", ms=5, lw=1, capsize=3, color="#0072B2")
        axes.set_xscale("log")
        axes.set_xlabel("injected S/N per column")
        axes.set_ylabel(label)
        axes.set_xticks(x)
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
    figure.axes[1].axhspan(0.9, 1.1, color="0.55", alpha=0.15, lw=0)
    low, high = figure.axes[1].get_ylim()
    figure.axes[1].set_ylim(min(low, 0.85), max(high, 1.15))
    figure.axes[2].set_ylim(-5, 108)
    words = certificate.words()
    name = f"{certificate.name}: " if certificate.name else ""
    figure.suptitle(f"{name}{words[0]}\ninjected into {certificate.place}", fontsize=10, parse_math=False)
    return figure


def save_certificate(certificate: _Certificate, path: str | Path, *, dpi: float = 110.0) -> Path:
    """Write the figure of a certificate as PNG, whole or not at all; an existing file is replaced.

    Parameters
    ----------
    certificate : Certificate
        What to draw.
    path : path
        Where to.
    dpi : float, optional
        Pixels an inch.

    Returns
    -------
    Path
        The file.
    """
    path = Path(path)
    part = path.with_name(f".part-{path.name}")
    certificate_figure(certificate).savefig(part, format="png", dpi=dpi)
    part.replace(path)
    return path
