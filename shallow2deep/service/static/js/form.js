/** Fields made from the JSON schema of settings; what is left empty keeps its default and is not sent. */

import { html } from "../vendor/preact-htm.module.js";

/**
 * @param {{schema: object, root?: object, names?: string[], values: object, change: (values: object) => void,
 *   choices?: Record<string, string[]>, defaults?: object}} props
 *   choices: values to choose among for some names; root: the schema with the definitions
 */
export function Fields({ schema, root = schema, names = Object.keys(schema.properties), values, change, choices = {}, defaults = {} }) {
  const set = (name) => (value) => {
    const { [name]: _, ...rest } = values;
    change(value === undefined ? rest : { ...rest, [name]: value });
  };
  return names.map((name) => html`
    <${Field} key=${name} name=${name} schema=${schema.properties[name]} root=${root} value=${values[name]}
      set=${set(name)} choices=${choices[name]} fallback=${defaults[name]} />`);
}

function Field({ name, schema, root, value, set, choices, fallback }) {
  const { section, isOptional, kinds } = understood(schema, root);
  const about = schema.description ?? section?.description?.split("\n")[0];
  const title = html`<span title=${about}>${name.replaceAll("_", " ")}</span>`;
  const hint = about && html`<small>${about}</small>`;
  if (section) return html`<${Section} title=${title} hint=${hint} section=${section} root=${root} isOptional=${isOptional} value=${value} set=${set} />`;
  const unset = shown(fallback ?? schema.default);
  const options = choices ?? kinds.find((kind) => kind.enum)?.enum ?? (kinds.some((kind) => kind.type === "boolean") ? [true, false] : null);
  if (options && kinds.every((kind) => kind.type !== "array")) {
    const choose = (event) => set(event.target.value === "" ? undefined : options[Number(event.target.value)]);
    return html`
      <label class="column">${title}
        <select onChange=${choose} value=${value === undefined ? "" : options.indexOf(value)}>
          <option value="">${unset || "none"} (default)</option>
          ${options.map((option, n) => html`<option key=${n} value=${n}>${shown(option)}</option>`)}
        </select>${hint}</label>`;
  }
  const number = kinds.find((kind) => ["number", "integer"].includes(kind.type));
  if (number) {
    const limits = { min: number.minimum, max: number.maximum, step: number.type === "integer" ? 1 : "any" };
    const type = (event) => set(event.target.value === "" ? undefined : Number(event.target.value));
    return html`<label class="column">${title}
      <input type="number" ...${limits} value=${value ?? ""} placeholder=${unset} onChange=${type} />${hint}</label>`;
  }
  const type = (event) => set(event.target.value === "" ? undefined : parsed(event.target.value, kinds));
  return html`<label class="column">${title}
    <input value=${value === undefined ? "" : shown(value)} placeholder=${unset} onChange=${type} />${hint}</label>`;
}

/** Settings that belong together; optional ones are there once they are ticked. */
function Section({ title, hint, section, root, isOptional, value, set }) {
  const isThere = !isOptional || value !== undefined;
  const tick = html`<label class="row switch"><input type="checkbox" checked=${isThere}
    onChange=${(event) => set(event.target.checked ? {} : undefined)} />${title}</label>`;
  const change = (values) => set(isOptional || Object.keys(values).length ? values : undefined);
  return html`
    <div class="section">
      ${isOptional && tick}
      ${isOptional && hint}
      ${isThere && html`<details><summary>${isOptional ? "settings" : title}</summary>
        <${Fields} schema=${section} root=${root} values=${value ?? {}} change=${change} /></details>`}
    </div>
  `;
}

/** What a field takes: a section of settings, or plain values of some kinds. */
function understood(schema, root) {
  const resolve = (one) => (one.$ref ? { ...root.$defs[one.$ref.split("/").pop()] } : one);
  const kinds = (schema.anyOf ?? [schema]).map(resolve).flatMap((kind) => kind.anyOf?.map(resolve) ?? [kind]);
  const section = kinds.find((kind) => kind.properties);
  return { section, isOptional: kinds.some((kind) => kind.type === "null"), kinds: kinds.filter((kind) => kind.type !== "null") };
}

const shown = (value) => (value === null || value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value));

/** Text as what a field takes: lists as JSON, or parts between commas. */
function parsed(text, kinds) {
  try {
    return JSON.parse(text);
  } catch {
    const isList = kinds.some((kind) => kind.type === "array") && text.includes(",");
    return isList ? text.split(",").map((part) => part.trim()) : text;
  }
}
