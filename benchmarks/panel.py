"""How fast the panel follows: live updates by kind of change, and pushing a result beside the host's own plugin.

``python benchmarks/panel.py [S2D] [--style jdaviz|specviz2d]``: medians of alternating repetitions, headless.
On a machine that does other things too the time of the process itself (all its threads) says more than the clock.
Without a file it takes the real SMACS frame from the data folder, else a simulated one.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]


def default_file(folder: str) -> Path:
    """The SMACS frame, where the data folder is at hand; else a simulated one."""
    data = Path(os.environ.get("OPTEXTRACT_DATA", ROOT.parent / "shared" / "data"))
    found = sorted(data.glob("nirspec_mos_smacs_6355/*_s2d.fits"))
    if found:
        return found[0]
    from optextract.simulate import make_scene, write_s2d

    return write_s2d(make_scene("emission"), Path(folder) / "sample_s2d.fits")


def median_ms(values: list[float]) -> str:
    low, middle, high = 1e3 * np.percentile(values, [10, 50, 90])
    return f"{middle:7.1f} ms (10-90 %: {low:.1f} to {high:.1f})"


def changes(plg: Any, viewer: Any, app: Any) -> dict[str, list[Callable[[], Any]]]:
    """Kinds of change: each a pair of actions that are done in turn."""
    from glue.core.roi import RectangularROI

    frame = plg._obj._frame
    columns, row = frame.n_disp, plg.preview.kernel.centres[0]
    low, high = max(row - 12, 0), min(row + 12, frame.n_cross - 1)
    viewer.apply_roi(RectangularROI(60, columns - 60, low, high))
    group = app._app.data_collection.subset_groups[-1]

    def drag(shift: float) -> Callable[[], Any]:
        def act() -> None:
            plg.region = group.label
            app._app.session.edit_subset_mode.edit_subset = [group]
            viewer.apply_roi(RectangularROI(60 + shift, columns - 60, low, high))

        return act

    def field(name: str, one: Any, two: Any) -> list[Callable[[], Any]]:
        return [lambda: plg.set(name, one), lambda: plg.set(name, two)]

    return {
        "region: rectangle dragged": [drag(0), drag(5)],
        "region: rows typed": field("region.cross", (low, high), (low + 1, high)),
        "kernel: columns": field("kernel.disp", (200, 500), (210, 500)),
        "kernel: profile": field("profile.kind", "gaussian", "moffat"),
        "kernel: source moved": [lambda: plg._obj.move_source(0, row), lambda: plg._obj.move_source(0, row + 0.3)],
        "background: degree": field("background.degree", "none", 0),
        "trace: degree": field("trace.degree", 0, 1),
        "noise: variance factor": field("noise.scale", 1.0, 1.1),
        "rejection: threshold": field("rejection.threshold", 5.0, 6.0),
        "flux: least profile": field("flux.min_profile", 0.3, 0.4),
    }


def live(app: Any, plg: Any, viewer: Any, repeats: int) -> None:
    """Time every kind of change: all of it by the clock and by the processor, and what is not the extraction itself."""
    import optextract

    spent = [0.0]
    extract = optextract.extract

    def timed(*arguments: Any) -> Any:
        start = time.process_time()
        try:
            return extract(*arguments)
        finally:
            spent[0] += time.process_time() - start

    def run(name: str, actions: list[Callable[[], Any]]) -> None:
        whole, processor, own = [], [], []
        for turn in range(repeats + 2):
            spent[0], busy, start = 0.0, time.process_time(), time.perf_counter()
            actions[turn % 2]()
            took, used = time.perf_counter() - start, time.process_time() - busy
            if turn > 1:
                whole.append(took)
                processor.append(used)
                own.append(used - spent[0])
        busy_ms, own_ms = 1e3 * np.median(processor), 1e3 * np.median(own)
        print(f"{name:28s} {median_ms(whole)}, processor {busy_ms:.1f} ms, of which the panel {own_ms:.1f} ms")

    setattr(optextract, "extract", timed)  # noqa: B010  (a public name, as the type checker sees it)
    for name, actions in changes(plg, viewer, app).items():
        plg.reset()
        run(name, actions)
    plg.reset()
    for step in ("source", "region", "kernel", "background", "trace", "noise", "extract", "compare"):
        plg._obj.open_step = step
        run(f"trace degree, {step} open", [lambda: plg.set("trace.degree", 0), lambda: plg.set("trace.degree", 1)])
    plg._obj.open_step = ""
    setattr(optextract, "extract", extract)  # noqa: B010
    plg.reset()


def push(app: Any, plg: Any, repeats: int) -> None:
    """Add a spectrum to the data collection and the 1D viewer, by the panel and by the host's own plugin in turn."""
    name = "2D Spectral Extraction" if "2D Spectral Extraction" in app.plugins else "Spectral Extraction"
    host = app.plugins[name]._obj
    ours, theirs = [], []
    for turn in range(repeats + 1):
        plg.preview  # noqa: B018  (the push alone is timed: the result is there)
        start = time.perf_counter()
        plg.extract()
        middle = time.perf_counter()
        spectrum = host.export_extract_spectrum(add_data=False)
        before = time.perf_counter()
        host.ext_add_results.add_results_from_plugin(spectrum, replace=False, format="1D Spectrum")
        if turn:
            ours.append(middle - start)
            theirs.append(time.perf_counter() - before)
    print(f"{'push: this panel':28s} {median_ms(ours)}")
    print(f"{'push: the host own plugin':28s} {median_ms(theirs)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?")
    parser.add_argument("--style", choices=("jdaviz", "specviz2d"), default="jdaviz")
    parser.add_argument("--repeats", type=int, default=20)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    import jdaviz

    with tempfile.TemporaryDirectory() as folder:
        path = arguments.file if arguments.file is not None else default_file(folder)
        app = jdaviz.Specviz2d() if arguments.style == "specviz2d" else jdaviz.new_app()
        app.load(str(path), format="2D Spectrum")
        plg = app.plugins["Optimal Extraction"]
        viewer = next(v for v in app._app._viewer_store.values() if hasattr(v, "_composite_image"))
        print(f"{Path(path).name}, {arguments.style}, medians of {arguments.repeats}")
        with plg.as_active():
            live(app, plg, viewer, arguments.repeats)
            push(app, plg, max(5, arguments.repeats // 2))


if __name__ == "__main__":
    main()
