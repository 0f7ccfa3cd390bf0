"""What is freed is kept: an extraction does not ask the system for its arrays over and over."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource
import numpy as np
import optextract as ox
import optextract.pipeline
if not {kept}:
    optextract.pipeline.keep_freed = lambda: None
rng = np.random.default_rng(1)
for shape in ((25, 1298), (41, 1215)):
    rows = np.arange(shape[0])[:, None]
    source = 20 * np.exp(-((rows - 12.3) ** 2) / 4.5)
    frame = ox.Frame(rng.normal(size=shape) + source, variance=np.ones(shape))
    for _ in range(30):
        ox.extract(frame)
faults = []
for _ in range(10):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    ox.extract(frame)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(np.median(faults))  # now and then a system fetches pages back that it took from an idle process
"""


def faults(kept: bool) -> float:
    """Pages that the system had to clear for an extraction after one of a smaller frame."""
    words = [sys.executable, "-c", SCRIPT.format(kept=kept)]
    # limits in the environment hold: dask sets one for its workers, and leaves it there
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    return float(subprocess.run(words, capture_output=True, text=True, check=True, env=environment).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc learns from what is freed")
def test_an_extraction_asks_the_system_for_no_memory():
    assert faults(kept=True) < 20
    # about a thousand pages, three milliseconds
    assert faults(kept=False) > 200
