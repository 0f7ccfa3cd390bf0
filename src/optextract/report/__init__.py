"""What a person looks at: the summary figure of an extraction and the page of a batch."""

from __future__ import annotations

from .compare import Comparison, compare
from .figures import save_summary, summary_figure

__all__ = ["Comparison", "compare", "save_summary", "summary_figure"]
