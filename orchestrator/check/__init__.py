"""Static analysis: everything schemas tell about a plan before the first call.

Rule: pure; an error is a value that fails whatever it turns out to be, and unknown is never an
error.

- `checker` checks a plan against tools: `infer` and `infer_jmespath` give the types of references
  and expressions, `assignable` compares them, or plain values, with the schemas of arguments.
- `for_each` is the type of the items of a list, `answers` are the types of what calls give.
- `mismatch` is what they find in a value, `diagnostics` makes problems of the file from it.
- `earlier` is what is known of tasks that were checked before others came.
- `flow` proves which outputs can reach which arguments, `strangers` says what is dangerous there,
  `reads` what a template reads, `flow_finding` what a finding says.
- `proof` drops replacements that fix nothing.
- `lint` warns of what is allowed and most likely not meant, `policies` of that in one task.
"""

from __future__ import annotations

__all__ = ["answers", "assignable", "checker", "earlier", "flow", "lint", "proof", "strangers"]
