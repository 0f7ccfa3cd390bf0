"""Many spectra: files times recipe, in parallel, resumable; one failure never stops the rest."""

from __future__ import annotations

from .manifest import read_manifest
from .quality import CRITERIA, rate
from .review import Review
from .run import Batch, plan, run_batch
from .table import records_table

__all__ = ["CRITERIA", "Batch", "Review", "plan", "rate", "read_manifest", "records_table", "run_batch"]
