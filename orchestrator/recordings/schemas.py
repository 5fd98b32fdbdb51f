"""The JSON Schemas of tests and recordings, for editors."""

from __future__ import annotations

from typing import Any, Literal, get_args

from orchestrator.engine.outcome import Status
from orchestrator.recordings.case import CaseForm
from orchestrator.recordings.form import KINDS, Document, Part

_WHAT: dict[str, tuple[type[Part], str]] = {
    "test": (CaseForm, "A test of a workflow."),
    "recording": (Document, "Calls and their answers."),
}


def schema_of(file: Literal["test", "recording"]) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a kind of file."""
    form, description = _WHAT[file]
    schema = form.model_json_schema(mode="validation")
    for part in (schema, *schema.get("$defs", {}).values()):
        part.pop("title", None)
        for field in part.get("properties", {}).values():
            field.pop("title", None)
    if file == "test":
        tasks = schema["$defs"]["_Expect"]["properties"]["tasks"]
        alone = {"enum": list(get_args(Status)), "description": "Its status."}
        tasks["additionalProperties"] = {"anyOf": [alone, tasks["additionalProperties"]]}
    if file == "recording":
        call, answer = schema["$defs"]["RecordedCall"], schema["$defs"]["Answer"]
        call["oneOf"] = [{"required": [kind]} for kind in KINDS]
        answer["oneOf"] = [{"required": [kind]} for kind in ("output", "error", "no_answer")]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"orchestrator {file}",
        **schema,
        "description": description,
    }
