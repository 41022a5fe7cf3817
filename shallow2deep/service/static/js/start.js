/** The form of a new run. */

import { html, useEffect, useRef, useState } from "../vendor/preact-htm.module.js";
import { getJson, send } from "./api.js";
import { Fields } from "./form.js";

const FIRST = ["enhancer", "held_out", "segmentor", "objects"];
const OF_PROJECT = ["target", "classes", "forest", "changes", "ndim"];

/** @param {{project: import("./project.js").Project, close: (started?: object) => void}} props */
export function StartDialog({ project, close }) {
  const dialog = useRef(null);
  const [schema, setSchema] = useState(null);
  const [name, setName] = useState("");
  const [values, setValues] = useState({});
  const [problem, setProblem] = useState("");
  const [isSending, setSending] = useState(false);
  useEffect(() => {
    dialog.current.showModal();
    getJson("schema/adapt").then(setSchema, (error) => setProblem(error.message));
  }, []);
  const submit = async (event) => {
    event.preventDefault();
    setSending(true);
    try {
      close(await send("painting/runs", { name, settings: values }));
    } catch (error) {
      setProblem(error.message);
      setSending(false);
    }
  };
  const further = Object.keys(schema?.properties ?? {}).filter((key) => ![...FIRST, ...OF_PROJECT].includes(key));
  const choices = { enhancer: project.models.map((model) => model.name) };
  const fields = (names) => html`
    <${Fields} schema=${schema} names=${names} values=${values} change=${setValues} choices=${choices} defaults=${{ enhancer: project.enhancer }} />`;
  return html`
    <dialog ref=${dialog} class="start" aria-labelledby="start" onClose=${() => close()}>
      <h2 id="start">New run</h2>
      <form onSubmit=${submit}>
        <label class="column">Name <input maxlength="200" value=${name} placeholder="adapt" onInput=${(event) => setName(event.target.value)} /></label>
        ${schema && html`
          ${fields(FIRST)}
          <details><summary>All settings</summary>${fields(further)}</details>`}
        ${problem && html`<p class="problem" role="alert">${problem}</p>`}
        <div class="pair">
          <button class="main" disabled=${!schema || isSending}>Start</button>
          <button type="button" onClick=${() => close()}>Cancel</button>
        </div>
      </form>
    </dialog>
  `;
}
