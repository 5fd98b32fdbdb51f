// Fields for a value that a JSON Schema describes.

import { el } from "./dom.js";

let numbers = 0;

// The fields, and `read`, which gives the value or throws what is wrong with it.
export function fieldsOf(schema, value) {
  const kind = kindOf(schema);
  if (kind === "object") return objectFields(schema, value);
  const id = `field-${(numbers += 1)}`;
  const field = simple(schema, kind, value, id);
  return { ...field, id };
}

function kindOf(schema) {
  if (typeof schema !== "object" || schema === null) return "json";
  if (Array.isArray(schema.enum) && schema.enum.every((each) => typeof each !== "object")) return "enum";
  const types = [].concat(schema.type ?? []);
  if (types.length === 1 && types[0] === "object" && schema.properties) return "object";
  if (types.length === 1 && ["string", "boolean", "integer", "number"].includes(types[0])) return types[0];
  return "json";
}

// What fits, as far as a field does not say it by itself.
function hintOf(schema, kind) {
  const of = typeof schema === "object" && schema !== null ? schema : {};
  const least = of.minimum ?? of.exclusiveMinimum;
  const most = of.maximum ?? of.exclusiveMaximum;
  const words = [
    kind === "json" && `JSON${of.type ? ` (${[].concat(of.type).join(" or ")})` : ""}, such as ${[].concat(of.type).includes("array") ? '["a", "b"]' : '{"a": 1}'}`,
    kind === "integer" && "a whole number",
    least !== undefined && `${of.minimum === undefined ? "more than" : "at least"} ${least}`,
    most !== undefined && `${of.maximum === undefined ? "less than" : "at most"} ${most}`,
    kind === "string" && of.minLength > 1 && `at least ${of.minLength} characters`,
    kind === "string" && of.maxLength !== undefined && `at most ${of.maxLength} characters`,
    kind === "string" && of.pattern && `as ${of.pattern}`,
    kind === "string" && of.format && of.format !== "date" && `a ${of.format}`,
    of.minItems > 0 && `at least ${of.minItems} items`,
    of.maxItems !== undefined && `at most ${of.maxItems} items`,
  ];
  return words.filter(Boolean).join(", ");
}

function objectFields(schema, value) {
  const needed = new Set(schema.required || []);
  const parts = Object.entries(schema.properties).map(([name, of]) => {
    const given = value && name in value ? value[name] : of?.default;
    const hint = of?.properties ? "" : hintOf(of, kindOf(of));
    return { name, ...fieldsOf(of, given), about: of?.description, hint, isNeeded: needed.has(name) };
  });
  const node = el(
    "div",
    { class: "fields" },
    parts.map((part) =>
      el("div", { class: "field" }, el("label", { for: part.id }, part.name, part.isNeeded && " *"), part.node, part.about && el("p", { class: "soft" }, part.about), part.hint && el("p", { class: "soft hint" }, part.hint)),
    ),
  );
  const read = () => {
    const found = {};
    for (const part of parts) {
      const own = named(part);
      if (own !== undefined) found[part.name] = own;
      else if (part.isNeeded) throw new Error(`${part.name} is missing`);
    }
    return found;
  };
  return { node, read };
}

function named(part) {
  try {
    return part.read();
  } catch (wrong) {
    throw new Error(`${part.name}: ${wrong.message}`);
  }
}

function simple(schema, kind, value, id) {
  if (kind === "enum" || kind === "boolean") {
    const choices = kind === "enum" ? schema.enum : [true, false];
    const node = el(
      "select",
      { id },
      value === undefined && el("option", { value: "" }, ""),
      choices.map((each, index) => el("option", { value: String(index), selected: each === value }, kind === "boolean" ? (each ? "yes" : "no") : String(each))),
    );
    return { node, read: () => (node.value === "" ? undefined : choices[Number(node.value)]) };
  }
  if (kind === "string") {
    const isLong = String(value ?? "").length > 60 || String(value ?? "").includes("\n");
    const type = !isLong && schema.format === "date" && (!value || /^\d{4}-\d\d-\d\d$/.test(value)) ? "date" : null;
    const node = el(isLong ? "textarea" : "input", { id, type, rows: isLong ? "5" : null, value: value ?? "" });
    return { node, read: () => (node.value === "" && value === undefined ? undefined : node.value) };
  }
  if (kind === "integer" || kind === "number") {
    const node = el("input", { id, inputmode: "decimal", value: value === undefined ? "" : String(value) });
    return { node, read: () => (node.value.trim() === "" ? undefined : numberOf(node.value)) };
  }
  const node = el("textarea", { id, rows: "4", spellcheck: "false", class: "code", value: value === undefined ? "" : JSON.stringify(value, null, 2) });
  return { node, read: () => (node.value.trim() === "" ? undefined : jsonOf(node.value)) };
}

function numberOf(text) {
  const number = Number(text);
  if (!Number.isFinite(number)) throw new Error(`expected a number, got "${text}"`);
  return number;
}

function jsonOf(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error('expected JSON, such as ["a", 1] or "text"');
  }
}
