"""The mutations as a table: the kind, then the name, what it can change, and how.

In templates, `REF` is a reference without its dollar sign, `ID` its task and `PATH` its path.
"""

from __future__ import annotations

from typing import Any

from tests.mutation import changes as do
from tests.mutation import fields as new
from tests.mutation.changes import fill, rename
from tests.mutation.documents import without
from tests.mutation.mutations import Mutant, Row

NO_TASK = "prepare-everything"
NO_MISTAKE = "no mistake"
NO_OUTPUT = f"OUTPUT[{NO_TASK}].x == 1"
UNTIL_ANY = {"until": "LAST != null || LAST == null", "every_s": 0}
STEPS = (".value", ".result", ".data", '["text"]')
CONDITIONS = "REF >  lenght(REF) > 1  STATUS[nobody] == 'success'  REF = 1  OUTPUTS[ID]"

# Templates of a text in the place of a reference, two spaces apart.
TEMPLATES = {
    "bad expression": {
        "unknown function": "${lenght(REF)}  ${joinn(', ', REF)}  ${not_nul(REF)}  ${uper(REF)}",
        "wrong number of arguments": "${length(REF, REF)}  ${length()}  ${join(REF)}  "
        "${starts_with(REF)}  ${keys()}  ${slice(REF)}  ${add(REF)}  ${now_iso(REF)}",
        "unbalanced": "${length(REF}  ${REF  ${(REF}  ${[REF}  ${REF[?a}  ${not_null(REF, 'x)}",
        "unknown root": "${OUTPUTS[ID]PATH}  ${output.ID}  ${RESULT[ID]PATH}  ${$outputs[ID]}  "
        "${tasks.ID}",
        "operator": "${REF + 1}  ${REF - 1}  ${REF*2}  ${REF / 2}  ${REF % 2}  ${'a' + REF}  "
        "${REF.first-name}",
        "no expression": "${REF = 1}  ${REF ||}  ${}  ${REF REF}  ${REF..x}  ${|REF}",
    },
    "malformed reference": {
        "malformed reference": "$OUTPUT  $OUTPUT[ID  $OUTPUT['ID']PATH  $OUTPUT[\"ID\"]PATH  "
        "$OUTPUT[ID]..result  $OUTPUT[ID].items[*]  $OUTPUT[ID].items[0:2]  $OUTPUT[ID].0  "
        "$OUTPUT.IDPATH  $OUTPUT(ID)PATH  $OUTPUT [ID]PATH  $OUTPUT[ID][result]  "
        '$OUTPUT[ID]["result]  $STATUS[ID]  $INPUT  $RUN  $RUN.name',
        "text that looks like a reference": "$OUT[ID]PATH  $output[ID]PATH  OUTPUT[ID]PATH  "
        "{{IDPATH}}  $$OUTPUT[ID]PATH  $ID",
    },
}

TABLE: dict[str, list[tuple[str, Any, Any]]] = {
    "wrong id": [
        ("misspelled reference", do.references, do.misspell_name),
        ("misspelled wait", do.entries, lambda s: s.put(s.misspell(s.value, s.ids))),
        ("misspelled input", do.inputs, do.misspell_name),
        ("renamed task", do.needed, do.rename_task),
        ("another task", do.references, lambda s: s.put(s.site.with_name(s.pick(s.unrelated())))),
    ],
    "wrong tool": [
        ("misspelled tool", do.tools, lambda s: s.put(f"{s.server}:{s.misspell(s.tool, s.tools)}")),
        (
            "misspelled server",
            do.tools,
            lambda s: s.put(f"{s.misspell(s.server, s.servers)}:{s.tool}"),
        ),
        ("tool of another server", do.tools, do.move_tool),
        (
            "no server",
            do.tools,
            lambda s: s.put(
                s.value.replace(f"{s.server}:", s.pick(("", f"{s.server}.", f"{s.server}/")))
            ),
        ),
        ("another tool", do.tools, do.another_tool),
    ],
    "argument name": [
        ("misspelled argument", do.TOP, rename(lambda s, name: s.misspell(name, s.siblings))),
        ("misspelled property", do.NESTED, rename(lambda s, name: s.misspell(name, s.siblings))),
        ("argument in another style", do.TOP, rename(do.restyled)),
        ("missing argument", do.TOP, do.drop),
        ("missing property", do.NESTED, do.drop),
        ("unknown argument", do.TOP, do.add),
    ],
    "type": [
        ("literal of another type", do.literals, lambda s: s.put_within(s.retyped())),
        ("element of another type", do.ELEMENTS, lambda s: s.put_within(s.retyped())),
        ("holder of another type", do.holders_of_literals, lambda s: s.put_within(s.retyped())),
        ("reference in a text", do.wholes, fill("value: $REF  $REF ;  [$REF]")),
        ("reference in an array", do.wholes, lambda s: s.put_within([s.value])),
        ("whole output", do.WITH_PATH, lambda s: s.put(s.site.with_path(""))),
        ("reference for a literal", do.literals, do.refer_instead),
        ("for_each of no array", do.IN_ARGUMENTS, do.loop_over),
    ],
    "path": [
        ("misspelled field", do.WITH_PATH, do.misspell_field),
        (
            "one step too many",
            do.references,
            lambda s: s.put(s.site.with_path(s.site.match["path"] + s.pick(STEPS))),
        ),
        ("index into an object", do.references, do.insert_index),
        ("name in an array", do.through_arrays, do.name_in_array),
        ("index beyond the end", do.WITH_INDEX, lambda s: s.step(s.site.path.index(0), "[77]")),
    ],
    "cycle": [
        ("cycle by waiting", do.tools, do.cycle(lambda s, name: s.wait(name))),
        ("cycle by reference", do.arguments, do.cycle(lambda s, name: s.put(f"$OUTPUT[{name}].x"))),
        ("waiting for itself", do.tools, lambda s: s.wait(s.own)),
        ("reference to itself", do.IN_TASKS, lambda s: s.put(s.site.with_name(s.own))),
    ],
    "missing task": [
        ("removed task", do.needed, do.remove_task),
        ("waiting for nothing", do.tools, lambda s: s.wait(NO_TASK)),
        ("reference to nothing", do.arguments, lambda s: s.put(f"$OUTPUT[{NO_TASK}].x")),
    ],
    "bad expression": [
        ("wrong type in an expression", do.wholes, do.wrong_call),
        ("misspelled field in an expression", do.WHOLE_WITH_PATH, do.call_of_no_field),
        ("misspelled id in an expression", do.wholes, do.call_of_no_task),
        (
            "wrong condition",
            do.WHOLE_IN_TASKS,
            lambda s: s.put(s.filled(CONDITIONS), (*s.path[:2], "when")),
        ),
        ("damaged expression", do.expressions, do.damage),
    ],
    "field of a task": [
        ("until of no root", do.tools, lambda s: s.field("repeat", {"until": "LST.done"}, "until")),
        (
            "misspelled field of repeat",
            do.tools,
            lambda s: s.field("repeat", {"until": "LAST", "evry_s": 1}, "evry_s"),
        ),
        ("until that is no text", do.tools, lambda s: s.field("repeat", {"until": 7}, "until")),
        ("answer without repeat", do.literals, lambda s: s.put("$LAST.next")),
        ("until of no task", do.tools, lambda s: s.field("repeat", {"until": NO_OUTPUT}, "until")),
        ("deadline of no time", do.tools, lambda s: s.field("deadline_s", s.pick((0, -1, "9")))),
        ("end of no status", do.tools, lambda s: s.field("end_run", s.pick(("sucess", True)))),
        ("value beside a tool", do.tools, new.beside_the_tool),
        (
            "cache of no time",
            do.tools,
            lambda s: s.field("cache", {"ttl_s": s.pick((0, -1, "9"))}, "ttl_s"),
        ),
        (
            "misspelled field of cache",
            do.tools,
            lambda s: s.field("cache", {"ttl_s": 9, "openworld": True}, "openworld"),
        ),
    ],
    "item": [
        ("product of no array", do.tools, lambda s: s.field("for_each", {"a": s.pick(("x", 7))})),
        (
            "product with no such task",
            do.tools,
            lambda s: s.field("for_each", {"a": [1], "b": f"$OUTPUT[{NO_TASK}]"}),
        ),
        ("item_when of no item", new.single, lambda s: s.field("item_when", "ITEM.x > 1")),
        ("item_when of no task", do.tools, lambda s: s.field("item_when", NO_OUTPUT)),
        ("empty item_fallback", do.tools, lambda s: s.field("item_fallback", {"arguments": {}})),
        (
            "item_fallback with no such task",
            do.tools,
            lambda s: s.field("item_fallback", {"value": f"$OUTPUT[{NO_TASK}]"}),
        ),
        ("items of one call", do.literals, new.items_of_one_call),
        ("items without an id", do.literals, lambda s: s.put(s.pick(("$ITEMS", "$ITEMS.x")))),
    ],
    "workflow": [
        ("inner: no such input", do.tools, new.inside_with("arguments", "zzz", value=1)),
        (
            "inner: reads no input",
            do.tools,
            new.inside_with("workflow", "tasks", 0, "arguments", "NAME", value="$INPUT.zzz"),
        ),
        (
            "inner: reads a task outside",
            do.tools,
            new.inside_with("workflow", "tasks", 0, "arguments", "NAME", value=new.other_output),
        ),
        (
            "inner: output of no task",
            do.tools,
            new.inside_with("workflow", "output", value="$OUTPUT[zzz]"),
        ),
    ],
    "read and prompt": [
        ("read without a server", do.tools, new.asked("read", "notes")),
        ("read of no task", do.tools, new.asked("read", f"SERVER:notes://$OUTPUT[{NO_TASK}]")),
        ("prompt without a name", do.tools, new.asked("prompt", "SERVER:")),
        ("prompt of no task", do.tools, new.asked("prompt", "SERVER:a", x=f"$OUTPUT[{NO_TASK}]")),
    ],
    "finally": [
        ("finally read from outside", do.literals, new.read_finally),
        ("finally with a used id", do.tools, new.finally_with("id", "id")),
        ("finally that ends the run", do.tools, new.finally_with("end_run", "success")),
        ("finally with no such task", do.tools, new.finally_with("when", NO_OUTPUT)),
        ("finally with a cycle", do.tools, new.finally_with("depends_on", ["clean-up"])),
    ],
    NO_MISTAKE: [
        ("call until there is an answer", do.tools, new.harmless("repeat", UNTIL_ANY)),
        ("far deadline", do.tools, new.harmless("deadline_s", 9999)),
        ("condition of each item", new.fanned, new.harmless("item_when", "ITEM != 'nothing'")),
        ("clean-up that reads a status", do.tools, new.clean_up),
        ("moved into an inner workflow", do.tools, new.moved_inside),
        ("removed wait", do.entries, lambda s: Mutant(without(s.document, s.path), [s.path])),
        ("added wait", do.tools, lambda s: s.wait(s.pick(s.unrelated()))),
        ("renamed everywhere", do.needed, do.rename_everywhere),
        ("literal of the same type", do.literals, lambda s: s.put(do.alike(s.value))),
        ("reference in braces", do.wholes, fill("${$REF}  ${REF}  ${ REF }  ${ $REF }")),
        ("names in brackets", do.WITH_PATH, do.in_brackets),
    ],
}

ROWS = [
    *(Row(kind, *row) for kind, rows in TABLE.items() for row in rows),
    *(
        Row(kind, name, do.wholes, fill(text))
        for kind, rows in TEMPLATES.items()
        for name, text in rows.items()
    ),
]
KINDS = [kind for kind in dict.fromkeys(row.kind for row in ROWS) if kind != NO_MISTAKE]
