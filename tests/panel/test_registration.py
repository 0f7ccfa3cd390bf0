"""The panel is there without being asked for, once, and does not slow what is not Jdaviz."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import Any

import pytest

from .conftest import LABEL, new_app


def run(code: str) -> str:
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("make", ["jdaviz.new_app()", "jdaviz.Specviz2d()"])
def test_the_panel_is_there_with_nothing_imported_by_the_user(make: str) -> None:
    out = run(f"""
        import sys
        import jdaviz
        assert not any(name.startswith("optextract") for name in sys.modules)
        app = {make}
        print([item["label"] for item in app._app.state.tray_items].count("{LABEL}"), "{LABEL}" in app.plugins)
    """)
    # the generalised app lists a panel among its plugins once there is something for it to do
    assert out.split()[0] == "1"


def test_a_plain_glue_session_does_not_import_jdaviz() -> None:
    out = run("""
        import sys
        from glue.main import load_plugins
        load_plugins()
        print("jdaviz" in sys.modules, "optextract.panel.plugin" in sys.modules)
    """)
    assert out.split() == ["False", "False"]


def test_jdaviz_after_plain_glue_still_gets_the_panel() -> None:
    out = run(f"""
        from glue.main import load_plugins
        load_plugins()
        import jdaviz
        print([item["label"] for item in jdaviz.new_app()._app.state.tray_items].count("{LABEL}"))
    """)
    assert out.split() == ["1"]


def test_register_helps_where_glue_has_the_plugin_switched_off(tmp_path: Any) -> None:
    out = run(f"""
        import glue.config
        glue.config.CFG_DIR = {str(tmp_path)!r}
        from pathlib import Path
        Path({str(tmp_path)!r}, "plugins.cfg").write_text("[plugins]\\noptextract = 0\\n")
        import jdaviz
        labels = lambda app: [item["label"] for item in app._app.state.tray_items].count("{LABEL}")
        app = jdaviz.new_app()
        before = labels(app)
        import optextract.panel
        optextract.panel.register()
        print(before, labels(app), labels(jdaviz.new_app()), labels(jdaviz.Specviz2d()))
    """)
    assert out.split() == ["0", "1", "1", "1"]


def test_registering_twice_changes_nothing(style: str) -> None:
    from optextract.panel import register

    register()
    register()
    app = new_app(style)
    assert [item["label"] for item in app._app.state.tray_items].count(LABEL) == 1
    from jdaviz.configs.specviz.plugins.viewers import Spectrum2DViewer

    flat = [tool for group in Spectrum2DViewer.tools_nested for tool in group]
    assert flat.count("optextract:source") == 1
    assert flat.count("bqplot:rectangle") == 1


def test_what_goes_wrong_at_start_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    import optextract.panel
    from optextract.panel import _glue

    def broken() -> None:
        raise AttributeError("no such thing in this jdaviz")

    monkeypatch.setattr(optextract.panel, "register", broken)
    with (
        pytest.warns(UserWarning, match="the Optimal Extraction panel could not be added to Jdaviz: AttributeError"),
        pytest.raises(AttributeError),
    ):
        _glue.setup()


def test_a_missing_piece_of_the_host_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    import types

    from optextract.panel import register as _register  # noqa: F401
    from optextract.panel.register import _once

    host = types.ModuleType("host")
    _once(host, "gone", lambda original: original)
    assert "this version of jdaviz has no host.gone: part of the panel is off" in caplog.text


def test_a_1d_only_app_is_left_alone() -> None:
    out = run(f"""
        import jdaviz
        app = jdaviz.Specviz()
        print([item["label"] for item in app._app.state.tray_items].count("{LABEL}"))
    """)
    assert out.split() == ["0"]
