"""What is wrong with a recipe, in sentences that name the field, the rule and the value."""

from __future__ import annotations

from pydantic import ValidationError

from ..errors import RecipeError
from ._sections import SECTIONS

__all__ = ["explain"]


def explain(error: ValidationError, caller: str) -> RecipeError:
    """Turn pydantic's report into one sentence a problem, naming the field and the value."""
    lines: list[str] = []
    broken: dict[tuple[str, str], list[str]] = {}
    for problem in error.errors():
        # union members appear in the location as tags such as 'int' or "literal['auto']"; users know fields only
        where = ".".join(str(part) for part in problem["loc"] if _is_field(part))
        if problem["type"] == "extra_forbidden":
            known = _fields_at(problem["loc"][:-1])
            hint = f" (known: {', '.join(known)})" if known else ""
            lines.append(f"unknown field {where!r}{hint}")
        else:
            broken.setdefault((where, repr(problem["input"])), []).append(_rule(problem["msg"]))
    for (where, value), rules in broken.items():
        shown = value if len(value) <= 120 else value[:117] + "..."
        rule = " or ".join(dict.fromkeys(rules)).replace(" or be ", " or ")
        lines.append(f"the {where!r} parameter must {rule}. Got {shown} instead")
    return RecipeError(f"{caller} is not valid: " + "; ".join(dict.fromkeys(lines)))


def _rule(message: str) -> str:
    """Pydantic's sentence as what follows "must"."""
    for start, instead in (("Value error, must ", ""), ("Input should ", ""), ("Tuple should ", "")):
        if message.startswith(start):
            return instead + message.removeprefix(start).replace(" after validation", "")
    return f"be valid ({message})"


def _is_field(part: int | str) -> bool:
    return isinstance(part, int) or (part.isidentifier() and part not in {"int", "float", "str", "tuple", "bool"})


def _fields_at(location: tuple[int | str, ...]) -> list[str]:
    if not location:
        return ["schema", *SECTIONS]
    section = SECTIONS.get(str(location[0]))
    return list(section.model_fields) if section is not None and len(location) == 1 else []
