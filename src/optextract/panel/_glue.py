"""Entry point of the group ``glue.plugins``: Jdaviz loads those when an app is made, before its tray is built."""

from __future__ import annotations

import sys
import warnings

#: What goes wrong where the host is not the one that was tried: glue would log any of these at INFO and go on.
_TROUBLE = (ImportError, AttributeError, KeyError, TypeError, ValueError, OSError)


class JdavizNotInUse(ImportError):
    """A plain glue session: nothing to do, and importing jdaviz would slow it by seconds."""


def setup() -> None:
    """Register the panel where Jdaviz is in use.

    Raises
    ------
    JdavizNotInUse
        If no Jdaviz has been imported. Raising, not returning, keeps glue from marking the plugin as loaded, so that
        a Jdaviz app that is made later in the same process still gets the panel.
    """
    if "jdaviz.app" not in sys.modules:
        raise JdavizNotInUse("jdaviz has not been imported")
    from . import register

    try:
        register()
    except _TROUBLE as error:
        warnings.warn(f"the Optimal Extraction panel could not be added to Jdaviz: {error!r}", stacklevel=2)
        raise
