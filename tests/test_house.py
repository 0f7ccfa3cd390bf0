"""The rules of the house that no linter knows: layers, what an import may load, length of files, a few habits.

Each rule is a function of a source tree, so each is shown to fail on a small tree that breaks it.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "optextract"

MOST_LINES = 500

# Bottom first; a module may import from its own layer and from those before it.
LAYERS = (
    ("errors", "compiled"),
    ("recipe", "frame", "results"),
    ("a stage",),  # every module that is not named here
    ("pipeline", "simulate"),
    ("batch", "calibrate", "report", "validate", "io", "warm"),
    ("",),  # optextract/__init__.py: the public names
    ("cli", "panel"),
    ("__main__",),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def level(name: str) -> int:
    return LEVEL.get(name, LEVEL["a stage"])


# A public method of a low module that hands over to a higher one, inside the method only; so may anyone ask for the
# version.
DELEGATES = {("results", "io")}  # Extraction.read

# Only panel/ knows the host.
HOST = {
    "bqplot", "echo", "glue", "glue_astronomy", "glue_jupyter", "ipyvue", "ipyvuetify", "ipywidgets", "jdaviz",
    "solara", "traitlets",
}  # fmt: skip
# Each of these imports matplotlib, so they are imported inside functions.
LATE = {"matplotlib", "regions", "specreduce", "specutils"}
# None of these may be loaded by `import optextract` and `import optextract.cli`.
UNLOADED = ("jdaviz", "ipywidgets", "matplotlib", "numba")


def modules(package: Path) -> Iterator[tuple[tuple[str, ...], Path, ast.Module]]:
    """Every module of the package: its dotted name without the package's as a tuple, its path, its syntax tree."""
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        name = parts[:-1] if parts[-1] == "__init__" else parts
        yield name, path, ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports(tree: ast.AST, name: tuple[str, ...], path: Path, package: Path) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Line and absolute dotted name of everything a module imports, wherever in the module that stands."""
    here = (package.name, *name)
    base = here if path.name == "__init__.py" else here[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, tuple(alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            start = base[: len(base) + 1 - node.level] if node.level else ()
            source = (*start, *(node.module.split(".") if node.module else ()))
            for alias in node.names:
                yield node.lineno, (*source, alias.name)


def part(target: tuple[str, ...], package: Path) -> str:
    """The top-level module or folder of the package that an import reaches; "" is the package itself."""
    if len(target) < 2:
        return ""
    there = package / target[1]
    known = target[1] in LEVEL or there.is_dir() or there.with_suffix(".py").is_file()
    return target[1] if known else ""


def place(path: Path, line: int, package: Path) -> str:
    return f"{path.relative_to(package.parent)}:{line}"


def upward_imports(package: Path) -> list[str]:
    found = []
    for name, path, tree in modules(package):
        own = name[0] if name else ""
        at_import = {statement.lineno for statement in outside_functions(tree)}
        for line, target in imports(tree, name, path, package):
            if target[0] != package.name:
                continue
            other = part(target, package)
            allowed = (own, other) in DELEGATES or target[1:] == ("__version__",)
            delegated = allowed and line not in at_import
            if level(other) > level(own) and not delegated:
                found.append(f"{place(path, line, package)} imports upwards: {'.'.join(target)}")
    return found


def host_imports(package: Path) -> list[str]:
    return [
        f"{place(path, line, package)} imports the host outside panel/: {'.'.join(target)}"
        for name, path, tree in modules(package)
        if name[:1] != ("panel",)
        for line, target in imports(tree, name, path, package)
        if target[0] in HOST
    ]


def outside_functions(node: ast.AST) -> Iterator[ast.stmt]:
    """The statements that run when the module is imported."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.stmt):
            yield child
        yield from outside_functions(child)


def early_imports(package: Path) -> list[str]:
    found = []
    for name, path, tree in modules(package):
        if name[:1] == ("panel",):
            continue
        for statement in outside_functions(tree):
            if not isinstance(statement, ast.Import | ast.ImportFrom):
                continue
            single = ast.Module(body=[statement], type_ignores=[])
            found += [
                f"{place(path, line, package)} imports {target[0]} when it is itself imported: do it in the function"
                for line, target in imports(single, name, path, package)
                if target[0] in LATE
            ]
    return found


def circles(package: Path) -> list[str]:
    """Modules that need each other to be imported, one line for each that can be reached from itself."""
    edges: dict[str, set[str]] = {}
    names = {".".join(name): name for name, _, _ in modules(package)}
    for name, path, tree in modules(package):
        reached = edges.setdefault(".".join(name), set())
        for statement in outside_functions(tree):
            if not isinstance(statement, ast.Import | ast.ImportFrom):
                continue
            single = ast.Module(body=[statement], type_ignores=[])
            for _, target in imports(single, name, path, package):
                if target[0] != package.name:
                    continue
                whole, without_last = ".".join(target[1:]), ".".join(target[1:-1])
                reached.add(whole if whole in names else without_last)
    found = []
    for start in sorted(edges):
        seen: set[str] = set()
        ahead = set(edges[start]) - {""}
        while ahead:
            step = ahead.pop()
            seen.add(step)
            ahead |= edges.get(step, set()) - seen - {""}
        if start in seen:
            found.append(f"{start} takes part in a circle of imports")
    return found


def long_files(package: Path) -> list[str]:
    found = []
    for path in sorted([*package.rglob("*.py"), *package.rglob("*.vue")]):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > MOST_LINES:
            found.append(f"{place(path, lines, package)} is longer than {MOST_LINES} lines")
    return found


def prints(package: Path) -> list[str]:
    return [
        f"{place(path, node.lineno, package)} prints: use logging"
        for name, path, tree in modules(package)
        if name[:1] != ("cli",)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]


def blanket_excepts(package: Path) -> list[str]:
    """Handlers for everything; one that tidies up and raises again is none."""
    found = []
    for _, path, tree in modules(package):
        for node in ast.walk(tree):
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = "BaseException" if node.type is None else ast.unparse(node.type)
            blanket = {"Exception", "BaseException"} & {word.strip("( )") for word in caught.split(",")}
            last = node.body[-1]
            if blanket and not (isinstance(last, ast.Raise) and last.exc is None):
                found.append(f"{place(path, node.lineno, package)} catches everything: name the errors")
    return found


def machine_paths(package: Path) -> list[str]:
    marks = ["/" + "work/", "/" + "tmp/venv"]
    found = []
    for path in sorted([*package.rglob("*.py"), *package.rglob("*.vue")]):
        for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            found += [
                f"{place(path, line, package)} holds a path of one machine: {mark}" for mark in marks if mark in text
            ]
    return found


RULES: list[Callable[[Path], list[str]]] = [
    upward_imports, circles, host_imports, early_imports, long_files, prints, blanket_excepts, machine_paths,
]  # fmt: skip


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_source_keeps_the_rule(rule: Callable[[Path], list[str]]) -> None:
    assert next(modules(PACKAGE), None) is not None, f"nothing to check in {PACKAGE}"
    assert rule(PACKAGE) == []


def test_tests_hold_no_machine_paths_and_no_endless_files() -> None:
    assert machine_paths(ROOT / "tests") == []
    assert long_files(ROOT / "tests") == []


BAD = {
    "a stage that imports the pipeline": (upward_imports, "trace.py", "from .pipeline import extract\n"),
    "an upward import inside a function": (upward_imports, "frame.py", "def f():\n    import optextract.io\n"),
    "a name from the package itself": (upward_imports, "solve.py", "from . import __version__\n"),
    "a module in a folder": (upward_imports, "io/fits.py", "from ..cli import main\n"),
    "a reader imported with the results": (upward_imports, "results.py", "from .io.fits import read\n"),
    "a recipe that knows a stage": (upward_imports, "recipe.py", "from .trace import follow\n"),
    "a new module that imports the pipeline": (upward_imports, "utils.py", "from .pipeline import extract\n"),
    "two modules that need each other": (circles, "trace.py", "from .kernel import fit\n"),
    "the host in a stage": (host_imports, "region.py", "def f():\n    from glue.core import Data\n"),
    "specutils at import time": (early_imports, "frame.py", "import specutils\n"),
    "specreduce in a class body": (early_imports, "trace.py", "class T:\n    from specreduce import tracing\n"),
    "a long file": (long_files, "noise.py", "x = 1\n" * (MOST_LINES + 1)),
    "a long template": (long_files, "panel/plugin.vue", "\n" * (MOST_LINES + 1)),
    "a print": (prints, "batch.py", "print('done')\n"),
    "except Exception": (blanket_excepts, "batch.py", "try:\n    f()\nexcept (OSError, Exception):\n    pass\n"),
    "a bare except": (blanket_excepts, "panel/_glue.py", "try:\n    f()\nexcept:\n    pass\n"),
    "a machine's path": (machine_paths, "io/fits.py", f"HERE = '/{'work'}/main'\n"),
}


@pytest.fixture
def good_tree(tmp_path: Path) -> Path:
    """A package that keeps every rule, with what looks like a breach and is none."""
    files = {
        "__init__.py": "from .pipeline import extract\nfrom .frame import Frame\n",
        "errors.py": "class E(ValueError): ...\n",
        "frame.py": "from .errors import E\nclass Frame:\n    def f(self):\n        import specutils\n",
        "results.py": "class Extraction:\n    def read(path):\n        from .io.fits import read\n",
        "kernel.py": "def fit():\n    ...\n\ndef late():\n    from .trace import follow\n",
        "trace.py": "from typing import TYPE_CHECKING\nfrom .frame import Frame\nif TYPE_CHECKING:\n"
        "    from specreduce.tracing import Trace\n",
        "pipeline.py": "from . import trace, kernel\ndef extract():\n    from optextract import __version__\n",
        "io/__init__.py": "from .fits import read\n",
        "io/fits.py": "from ..frame import Frame\ntry:\n    f()\nexcept BaseException:\n    g()\n    raise\n",
        "cli.py": "import optextract as ox\nfrom .panel import plugin\nprint('one line a spectrum')\n",
        "panel/__init__.py": "",
        "panel/plugin.py": "import jdaviz\nfrom ..pipeline import extract\n",
    }
    for name, text in files.items():
        path = tmp_path / "optextract" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "optextract"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_good_tree_passes(rule: Callable[[Path], list[str]], good_tree: Path) -> None:
    assert rule(good_tree) == []


@pytest.mark.parametrize("breach", BAD)
def test_each_rule_can_fail(breach: str, good_tree: Path) -> None:
    rule, name, text = BAD[breach]
    (good_tree / name).write_text(text, encoding="utf-8")
    if rule is circles:
        (good_tree / "kernel.py").write_text("from . import trace\n", encoding="utf-8")
        assert circles(good_tree) == [f"{name} takes part in a circle of imports" for name in ("kernel", "trace")]
        return
    found = rule(good_tree)
    assert len(found) == 1, found
    assert found[0].startswith(f"optextract/{name}:")


def loaded_by(*names: str) -> set[str]:
    """Which of UNLOADED are in sys.modules of a fresh Python that has imported these modules."""
    code = f"import sys, {', '.join(names)}\nprint(*[name for name in {UNLOADED!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


@pytest.mark.parametrize("name", ["optextract", "optextract.cli", "optextract.panel._glue"])
def test_importing_stays_light(name: str) -> None:
    assert loaded_by(name) == set()


def test_the_panel_loads_the_loops_at_its_first_extraction() -> None:
    """The start of an app does not wait for them."""
    assert "numba" not in loaded_by("optextract.panel.plugin")


def test_the_light_import_check_can_fail() -> None:
    assert "matplotlib" in loaded_by("optextract", "matplotlib")
