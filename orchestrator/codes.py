"""The stable names of everything that can be found wrong, or worth a second look, before a run.

The rule of this file: each code is here, and has its paragraph in docs/findings.md; a code that was
published never changes its meaning.
"""

from __future__ import annotations

from typing import Literal, get_args

Severity = Literal["error", "warning", "note"]

Code = Literal[
    "always_null",
    "contradiction",
    "cycle",
    "denied_tool",
    "doubled_field",
    "duplicate_id",
    "likely_reference",
    "malformed_document",
    "malformed_lock",
    "malformed_reference",
    "malformed_variable",
    "may_not_fit",
    "maybe_absent",
    "means_nothing",
    "missing_argument",
    "missing_field",
    "missing_input",
    "missing_variable",
    "never_an_output",
    "never_retried",
    "never_runs",
    "never_true",
    "no_calls",
    "no_error_here",
    "no_item_here",
    "no_servers",
    "not_a_list",
    "not_json",
    "retry_of_a_writer",
    "self_reference",
    "server_not_locked",
    "server_unavailable",
    "tool_changed",
    "tools_not_checked",
    "unannotated_tools",
    "unexpected_argument",
    "unknown_field",
    "unknown_input",
    "unknown_place",
    "unknown_server",
    "unknown_task",
    "unknown_tool",
    "unknown_type",
    "unreadable_file",
    "unusable_schema",
    "unused_input",
    "unwritable_file",
    "usage",
    "wrong_argument",
    "wrong_expression",
    "wrong_input",
    "wrong_schema",
    "wrong_type",
    "wrong_value",
]
CODES: tuple[Code, ...] = get_args(Code)
