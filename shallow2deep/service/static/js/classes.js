/** The classes: chosen to paint with, named, coloured, and added. */

import { html, useState } from "../vendor/preact-htm.module.js";
import { useStore } from "./store.js";

const MOST = 32;

/** @param {{project: import("./project.js").Project, tools: import("./viewer.js").Tools}} props */
export function ClassList({ project, tools }) {
  useStore(project);
  useStore(tools);
  const [renamed, rename] = useState(-1);

  const save = (number, name) => {
    rename(-1);
    const text = name.trim();
    if (!text || text === project.classes[number]) return;
    project.change({ classes: project.classes.with(number, text) });
  };
  const add = async () => {
    const number = project.classes.length;
    await project.change({ classes: [...project.classes, `class ${number + 1}`] });
    if (project.classes.length > number) {
      tools.take(number + 1);
      rename(number);
    }
  };
  return html`
    <section>
      <h2>Classes</h2>
      <ul class="classes" role="radiogroup" aria-label="Class to paint">
        ${project.classes.map((name, n) => html`
          <li key=${n} class=${tools.value === n + 1 ? "chosen" : ""}>
            <input type="color" aria-label=${`Colour of ${name}`} value=${project.colours[n]}
              onChange=${(event) => project.change({ colours: project.colours.with(n, event.target.value) })} />
            ${renamed === n
              ? html`<${NameField} name=${name} save=${(text) => save(n, text)} />`
              : html`
                <button class="name" role="radio" aria-checked=${tools.value === n + 1} onClick=${() => tools.take(n + 1)}
                  onDblClick=${() => rename(n)}>${name}</button>
                ${n < 9 && html`<kbd>${n + 1}</kbd>`}
                <button class="small" aria-label=${`Rename ${name}`} title="Rename" onClick=${() => rename(n)}>✎</button>`}
          </li>`)}
      </ul>
      <button class="wide" disabled=${project.classes.length >= MOST} onClick=${add}>Add class</button>
      <p class="hint">The first class is what the others stand out from.</p>
      ${project.problem && html`<p class="problem" role="alert">${project.problem}</p>`}
    </section>
  `;
}

function NameField({ name, save }) {
  const onKeyDown = (event) => {
    if (event.key === "Enter") save(event.target.value);
    if (event.key === "Escape") save(name);
    event.stopPropagation();
  };
  const focus = (input) => input?.select();
  return html`<input class="name" aria-label="Name of the class" maxlength="80" ref=${focus} defaultValue=${name}
    onKeyDown=${onKeyDown} onBlur=${(event) => save(event.target.value)} />`;
}
