"""Pages made from the code itself while Sphinx runs: the recipe, the command line, the figures of the text."""

from __future__ import annotations

import argparse
import ast
import inspect
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from sphinx.application import Sphinx

import optextract
from optextract.batch import CRITERIA
from optextract.cli.parser import build_parser
from optextract.frame import META_KEYS
from optextract.recipe import FileRef, Mapped, Parameter, Recipe, Source
from optextract.results import Flag

FOLDER = "_generated"


def kind(annotation: Any) -> str:
    """A type of the recipe as a user writes it in YAML."""
    from types import UnionType
    from typing import Annotated, Literal, Union, get_args, get_origin

    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return kind(arguments[0]) + limits(arguments[1:])
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(kind(part) for part in arguments if part is not type(None)))
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin is tuple:
        inner = [part for part in arguments if part is not Ellipsis]
        if Ellipsis in arguments:
            return f"list of {kind(inner[0])}"
        return "[" + ", ".join(kind(part) for part in inner) + "]"
    named = {
        float: "number", int: "integer", str: "text", bool: "`true` or `false`",
        Parameter: "[parameter](#parameter)", FileRef: "[file](#file)", Mapped: "[layout](#layout)",
        Source: "[source](#source)",
    }  # fmt: skip
    return named[annotation]


def limits(marks: tuple[Any, ...]) -> str:
    """What an Annotated type demands beyond its type."""
    words = []
    for mark in marks:
        for part in getattr(mark, "metadata", [mark]):
            for name, sign in (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤")):
                value = getattr(part, name, None)
                if value is not None:
                    words.append(f"{sign} {value:g}")
    return f" ({', '.join(words)})" if words else ""


def default(value: Any) -> str:
    """A default as it stands in YAML."""
    if value is None:
        return "absent"
    if isinstance(value, BaseModel):
        return "free" if isinstance(value, Parameter) else "absent"
    if isinstance(value, tuple):
        return "`[" + ", ".join(str(part) for part in value) + "]`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`"


def table(model: type[BaseModel]) -> list[str]:
    """The fields of a section as a table."""
    lines = ["| field | value | default | what it is for |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        annotation = field.annotation if not field.metadata else _annotated(field.annotation, field.metadata)
        rule = kind(annotation).replace("|", r"\|")
        lines.append(f"| `{name}` | {rule} | {default(field.default)} | {field.description} |")
    return [*lines, ""]


def _annotated(annotation: Any, metadata: list[Any]) -> Any:
    from typing import Annotated

    return Annotated[(annotation, *metadata)]


def recipe_reference() -> str:
    """The recipe, section after section, as Markdown."""
    lines: list[str] = []
    for name, field in Recipe.model_fields.items():
        if not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            continue
        text = str(field.annotation.__doc__).strip()
        lines += [f"## {name}", "", text, "", *table(field.annotation)]
    lines += ["## What fields may hold", ""]
    for title, model in (("Parameter", Parameter), ("Source", Source), ("File", FileRef), ("Layout", Mapped)):
        lines += [f"### {title}", "", str(model.__doc__).strip(), "", *table(model)]
    return "\n".join(lines)


def command_reference() -> str:
    """Every command of the parser with its options, as Markdown."""
    parser = build_parser()
    commands = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    told = {choice.dest: choice.help for choice in commands._choices_actions}
    lines = []
    for name, command in commands.choices.items():
        lines += [f"## optextract {name}", "", f"{sentence(str(told[name]))}", "", "```text"]
        formatter = argparse.HelpFormatter(prog=f"optextract {name}", width=88)
        formatter.add_usage(command.usage, command._actions, command._mutually_exclusive_groups)
        lines += [formatter.format_help().strip(), "```", "", "| argument | what it is for |", "|---|---|"]
        for action in command._actions:
            if action.dest == "help":
                continue
            lines.append(f"| {spelled(action)} | {meaning(action)} |")
        lines.append("")
    return "\n".join(lines)


def sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def spelled(action: argparse.Action) -> str:
    """An argument as it is typed."""
    value = action.metavar if action.metavar is not None else action.dest.upper()
    if action.choices is not None:
        value = "{" + ",".join(str(choice) for choice in action.choices) + "}"
    shown = f" {value}" if action.nargs != 0 else ""
    if not action.option_strings:
        return f"`{value}`"
    return ", ".join(f"`{option}{shown}`" for option in action.option_strings)


def meaning(action: argparse.Action) -> str:
    text = "" if action.help is None else action.help % {"default": action.default, "prog": "optextract"}
    if action.choices is not None and action.default is not None and "default" not in text:
        text = f"{text} (default: {action.default})".strip()
    return text.replace("|", r"\|")


def flag_table() -> str:
    """The bits of `Flag` with the comments that stand beside them."""
    said = dict(re.findall(r"^    (\w+) = \d+  #: (.*)$", inspect.getsource(Flag), re.MULTILINE))
    rows = [f"| {int(flag)} | `{flag.name}` | {said[str(flag.name)]} |" for flag in Flag]
    return "\n".join(["| bit | name | meaning |", "|---|---|---|", *rows, ""])


def criteria_table() -> str:
    """The criteria of a batch's score."""
    rows = []
    for one in CRITERIA:
        words = re.sub(r"{(\w+)[^}]*}", r"*\1*", one.words)
        rows.append(f"| {one.weight:g} | {words} | `{one.figure}` | {one.good:g} | {one.bad:g} |")
    return "\n".join(["| points | what is said | figure | good | bad |", "|---|---|---|---|---|", *rows, ""])


def meta_table() -> str:
    """The entries of a frame's meta that stages read."""
    rows = [f"| `{name}` | {text} |" for name, text in META_KEYS.items()]
    return "\n".join(["| key | what it is |", "|---|---|", *rows, ""])


def house_table() -> str:
    """Every module with its length and the first sentence of its docstring."""
    package = Path(optextract.__file__).parent
    rows = []
    for path in sorted(package.rglob("*.py"), key=lambda path: (len(path.relative_to(package).parts) > 1, str(path))):
        text = path.read_text(encoding="utf-8")
        said = str(ast.get_docstring(ast.parse(text))).split("\n\n")[0].replace("\n", " ").replace("|", r"\|")
        rows.append(f"| `{path.relative_to(package)}` | {len(text.splitlines())} | {said} |")
    return "\n".join(["| module | lines | what it is |", "|---|---:|---|", *rows, ""])


PAGES = {
    "recipe.md": recipe_reference, "commands.md": command_reference, "flags.md": flag_table,
    "criteria.md": criteria_table, "meta.md": meta_table, "house.md": house_table,
}  # fmt: skip


def write(app: Sphinx) -> None:
    """Write what the pages include, and the figures that the text shows."""
    import figures

    folder = Path(app.srcdir) / FOLDER
    folder.mkdir(exist_ok=True)
    for name, make in PAGES.items():
        target, text = folder / name, make()
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            target.write_text(text, encoding="utf-8")
    figures.draw_all(folder)


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to Sphinx."""
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
