"""Expressions that are wrong, and references that are not written as they have to be.

The rule of this file: as `mistakes` says. The expressions and spellings are tables of templates:
`REF` is a reference without its dollar sign, `ID` the task, `PATH` the path.
"""

from __future__ import annotations

import re

from tests.mutation.mistakes import Chance, Make, Mistake, at, misspelled, one_of, to_tasks
from tests.mutation.originals import Original
from tests.mutation.reading import types_at
from tests.mutation.sight import Sight, source_of
from tests.mutation.sites import Site, ids, replaced, texts

FUNCTIONS = ("${lenght(REF)}", "${joinn(', ', REF)}", "${not_nul(REF, 'x')}", "${upper(REF)}")
ARITY = ("${length(REF, REF)}", "${length()}", "${join(REF)}", "${starts_with(REF)}", "${keys()}")
UNBALANCED = ("${length(REF}", "${REF", "${(REF}", "${[REF}", "${REF[?a}", "${not_null(REF, 'x)}")
ROOTS = (
    "${OUTPUTS[ID]PATH}",
    "${output.ID}",
    "${RESULT[ID]PATH}",
    "${$outputs[ID]}",
    "${tasks.ID}",
)
SYNTAX = ("${REF + 1}", "${REF = 1}", "${REF ||}", "${}", "${REF REF}", "${REF..x}", "${|REF}")
CONDITIONS = ("REF >", "lenght(REF) > 1", "STATUS[nobody] == 'success'", "REF = 1", "OUTPUTS[ID]")
MALFORMED = (
    "$OUTPUT",
    "$OUTPUT[ID",
    "$OUTPUT['ID']PATH",
    '$OUTPUT["ID"]PATH',
    "$OUTPUT[ID]..result",
    "$OUTPUT[ID].items[*]",
    "$OUTPUT[ID].items[0:2]",
    "$OUTPUT[ID].0",
    "$OUTPUT.IDPATH",
    "$OUTPUT(ID)PATH",
    "$OUTPUT [ID]PATH",
    "$OUTPUT[ID][result]",
    '$OUTPUT[ID]["result]',
    "$STATUS[ID]",
    "$INPUT",
)
LOOKALIKES = (
    "$OUT[ID]PATH",
    "$output[ID]PATH",
    "OUTPUT[ID]PATH",
    "{{IDPATH}}",
    "$$OUTPUT[ID]PATH",
    "$ID",
)
_TAKES: dict[str, frozenset[str]] = {
    "length(REF)": frozenset({"string", "array", "object"}),
    "abs(REF)": frozenset({"integer", "number"}),
    "ceil(REF)": frozenset({"integer", "number"}),
    "sum(REF)": frozenset({"array"}),
    "keys(REF)": frozenset({"object"}),
    "join(', ', REF)": frozenset({"array"}),
    "sort(REF)": frozenset({"array"}),
    "starts_with(REF, 'a')": frozenset({"string"}),
    "max(REF)": frozenset({"array"}),
    "reverse(REF)": frozenset({"string", "array"}),
}
"""Functions of JMESPath, and the types that they take, as its specification has them."""


def _filled(template: str, site: Site) -> str:
    path = site.text[site.path_start : site.end]
    parts = {"REF": f"OUTPUT[{site.id}]{path}", "ID": site.id, "PATH": path}
    return re.sub(r"REF|ID|PATH", lambda found: parts[found[0]], template)


def _from(templates: tuple[str, ...], name: str) -> Make:
    """The mistake of writing one of these instead of a reference."""

    def make(original: Original, chance: Chance) -> Mistake | None:
        site = one_of(chance, to_tasks(original.document, whole=True))
        if site is None:
            return None
        text = _filled(chance.choice(templates), site)
        return Mistake(replaced(original.document, site.at, text), at(site.at))

    make.__name__ = name
    return make


def wrong_type_in_an_expression(original: Original, chance: Chance) -> Mistake | None:
    """A function is given what it never takes, by the schema of the tool before it."""
    site = one_of(chance, to_tasks(original.document, whole=True))
    types = _types(original, site) if site is not None else None
    if site is None or not types:
        return None
    wrong = one_of(chance, [call for call, takes in _TAKES.items() if not takes & types])
    if wrong is None:
        return None
    text = _filled(f"${{{wrong}}}", site)
    document = replaced(original.document, site.at, text)
    return Mistake(document, at(site.at), in_expressions="certain")


def _types(original: Original, site: Site) -> frozenset[str] | None:
    task = next(task for task in original.document["tasks"] if task["id"] == site.id)
    return types_at(source_of(task, original.world.tools), site.path)


def misspelled_field_in_an_expression(original: Original, chance: Chance) -> Mistake | None:
    """A field that the output does not have, inside of an expression: there it is null."""
    found = [site for site in to_tasks(original.document, whole=True) if site.path]
    site = one_of(chance, found)
    last = str(site.path[-1]) if site is not None else ""
    if site is None or not last.isidentifier() or not (types := _types(original, site)):
        return None
    wrong = misspelled(last, chance)
    right = [call for call, takes in _TAKES.items() if types <= takes | {"integer"}]
    templates = [f"${{{call}}}" for call in right] + ["${not_null(REF, 'none')}"]
    if not wrong.isidentifier():
        return None
    text = _filled(chance.choice(templates), site).replace(f".{last}", f".{wrong}")
    sight: Sight = "certain" if original.world.is_closed else "undeclared"
    return Mistake(replaced(original.document, site.at, text), at(site.at), in_expressions=sight)


def misspelled_id_in_an_expression(original: Original, chance: Chance) -> Mistake | None:
    """An expression names its task with a letter wrong."""
    site = one_of(chance, to_tasks(original.document, whole=True))
    if site is None:
        return None
    name = misspelled(site.id, chance, ids(original.document))
    text = _filled(chance.choice(("${not_null(REF)}", "${REF || null}")), site)
    text = text.replace(f"[{site.id}]", f"[{name}]")
    return Mistake(replaced(original.document, site.at, text), at(site.at))


def wrong_condition(original: Original, chance: Chance) -> Mistake | None:
    """A `when` that is no expression, or names what is not there."""
    found = [site for site in to_tasks(original.document, whole=True) if site.task is not None]
    site = one_of(chance, found)
    if site is None:
        return None
    place = ("tasks", site.task or 0, "when")
    text = _filled(chance.choice(CONDITIONS), site)
    return Mistake(replaced(original.document, place, text), at(place))


def damaged_expression(original: Original, chance: Chance) -> Mistake | None:
    """An expression with one character left out or doubled, wherever."""
    found = one_of(chance, [(p, text) for p, text in texts(original.document) if "${" in text])
    if found is None:
        return None
    path, text = found
    place = chance.randrange(text.index("${"), len(text))
    made = text[:place] + chance.choice(("", text[place] * 2)) + text[place + 1 :]
    return Mistake(replaced(original.document, path, made), at(path))


EXPRESSIONS: tuple[Make, ...] = (
    _from(FUNCTIONS, "unknown_function"),
    _from(ARITY, "wrong_number_of_arguments"),
    _from(UNBALANCED, "unbalanced_expression"),
    _from(ROOTS, "unknown_root"),
    _from(SYNTAX, "expression_that_is_none"),
    wrong_type_in_an_expression,
    misspelled_field_in_an_expression,
    misspelled_id_in_an_expression,
    wrong_condition,
    damaged_expression,
)
SPELLINGS: tuple[Make, ...] = (
    _from(MALFORMED, "malformed_reference"),
    _from(LOOKALIKES, "text_that_looks_like_a_reference"),
)
