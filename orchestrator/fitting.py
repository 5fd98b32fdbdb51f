"""Arguments and outputs that do not fit the schemas of their tool, as errors.

The rule of this file: all that is wrong is one error. Whether a value fits is the business of
`schemas`, and what is said of it that of `misfits`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from orchestrator.errors import CallError, MisfitError
from orchestrator.misfits import Misfit, misfits
from orchestrator.paths import describe, format_path
from orchestrator.signatures import signature
from orchestrator.templates import made_by

if TYPE_CHECKING:
    from orchestrator.calls import Tool
    from orchestrator.templates import Template

MAX_ERRORS = 10
MAX_SIGNATURE = 300
# Of what a keyword expects, in characters of JSON: where it is more, the details have null.
MAX_EXPECTED = 2000


def _as_it_is(value: Any) -> Any:
    return value


def check_arguments(tool: Tool, arguments: Any, template: Template | None = None) -> None:
    """See that arguments fit the `inputSchema` of their tool.

    Args:
        tool: The tool.
        arguments: The arguments, resolved and converted.
        template: What they were made of, so that the message can name the references.

    Raises:
        MisfitError: They do not fit. `details` are `tool` and `errors`, the first `MAX_ERRORS`: of
            each its `path`, `message`, `keyword` and what that `expected`.
    """
    if found := misfits(tool.accepts, arguments, MAX_ERRORS + 1):
        of_members = any(each.is_member and len(each.path) == 1 for each in found)
        called = f"{tool.target}({signature(tool, MAX_SIGNATURE)})" if of_members else tool.target
        errors = [_error(each, template) for each in found]
        message = f"the arguments do not fit {called}: {_joined(errors)}"
        raise MisfitError(message, tool=tool.target, errors=errors[:MAX_ERRORS])


def check_output(tool: Tool, output: Any, redact: Callable[[Any], Any] = _as_it_is) -> None:
    """See that an output fits the `outputSchema` of its tool, if that declares one.

    Args:
        tool: The tool.
        output: What came.
        redact: Takes out of a JSON value what may not be shown.

    Raises:
        CallError: An `output_invalid`; `details` are those of `check_arguments`, and the `output`,
            as that of a success would be.
    """
    gives = tool.gives
    if gives is not None and (found := misfits(gives, output, MAX_ERRORS + 1)):
        errors = redact([_error(each) for each in found])
        message = f"the output of {tool.target} does not fit its outputSchema: {_joined(errors)}"
        shown = errors[:MAX_ERRORS]
        raise CallError("output_invalid", message, tool=tool.target, errors=shown, output=output)


def _joined(errors: list[dict[str, Any]]) -> str:
    sentences = [error["message"] for error in errors[:MAX_ERRORS]]
    return "; ".join([*sentences, *(["and more"] if len(errors) > MAX_ERRORS else [])])


def _error(misfit: Misfit, template: Template | None = None) -> dict[str, Any]:
    return {
        "path": format_path(misfit.path),
        "message": misfit.sentence("" if misfit.is_member else _given(misfit, template)),
        "keyword": misfit.keyword,
        "expected": _if_short(misfit.expected),
    }


def _given(misfit: Misfit, template: Template | None) -> str:
    """What stands at the place, and which reference gave it."""
    found = describe(misfit.value)
    source = None if template is None else made_by(template, misfit.path)
    if source is None:
        return f", not {found}"
    place = f" at {format_path(source.below)}" if source.below else ""
    return f", and {source.text} gave {found}{place}"


def _if_short(expected: Any) -> Any:
    return expected if len(json.dumps(expected)) <= MAX_EXPECTED else None
