/** The tab to paint on: images and brush on the left, the image in the middle, what is seen on the right. */

import { html, useEffect, useRef } from "../vendor/preact-htm.module.js";
import { ClassList } from "./classes.js";
import { onKey } from "./keys.js";
import { ImageList, Planes } from "./images.js";
import { LivePanel, ViewPanel } from "./panels.js";
import { useStore } from "./store.js";
import { Viewer } from "./viewer.js";

/**
 * @param {{desk: import("./main.js").Desk, hidden: boolean, help: () => void}} props
 */
export function PaintTab({ desk, hidden, help }) {
  const canvas = useRef(null);
  useStore(desk);
  useEffect(() => {
    desk.viewer = new Viewer(canvas.current, desk);
    desk.changed();
  }, []);
  useEffect(() => {
    if (hidden) return undefined;
    const listen = (event) => onKey(event, desk, help);
    addEventListener("keydown", listen);
    return () => removeEventListener("keydown", listen);
  }, [hidden]);
  return html`
    <main class="paint" hidden=${hidden}>
      <aside class="side" aria-label="Images and brush">
        <${ImageList} project=${desk.project} />
        <${ClassList} project=${desk.project} tools=${desk.tools} />
        <${Brush} tools=${desk.tools} />
        <${History} strokes=${desk.strokes} />
      </aside>
      <section class="view" aria-label="Image">
        <canvas ref=${canvas} tabindex="0" aria-label="Image to paint on with the mouse; keys: press ?"></canvas>
        <${Planes} project=${desk.project} />
        ${desk.viewer && html`<${Zoom} viewer=${desk.viewer} tools=${desk.tools} />`}
        <${Status} desk=${desk} />
      </section>
      <aside class="side" aria-label="Result and display">
        <${LivePanel} desk=${desk} />
        <${ViewPanel} desk=${desk} />
      </aside>
    </main>
  `;
}

function Brush({ tools }) {
  useStore(tools);
  return html`
    <section>
      <h2>Brush</h2>
      <label class="row">
        <span>Size</span>
        <input type="range" min="1" max="100" value=${tools.size}
          onInput=${(event) => tools.set({ size: Number(event.target.value) })} />
        <output class="number">${tools.size} px</output>
      </label>
      <button class="wide" aria-pressed=${tools.value === 0} onClick=${() => tools.take(tools.value ? 0 : tools.lastClass)}>
        Eraser <kbd>E</kbd>
      </button>
    </section>
  `;
}

function History({ strokes }) {
  useStore(strokes);
  return html`
    <section class="pair">
      <button disabled=${!strokes.done.length} onClick=${() => strokes.undo()}>Undo <kbd>Ctrl Z</kbd></button>
      <button disabled=${!strokes.undone.length} onClick=${() => strokes.redo()}>Redo <kbd>Ctrl Y</kbd></button>
    </section>
  `;
}

function Zoom({ viewer, tools }) {
  useStore(tools);
  return html`
    <div class="zoom" role="group" aria-label="Zoom">
      <button aria-label="Zoom out" onClick=${() => viewer.zoom(1 / 1.5)}>−</button>
      <output aria-label="Zoom">${percent(tools.zoom)}</output>
      <button aria-label="Zoom in" onClick=${() => viewer.zoom(1.5)}>+</button>
      <button onClick=${() => viewer.fit()}>Fit</button>
      <button onClick=${() => viewer.actualSize()}>1:1</button>
    </div>
  `;
}

const percent = (scale) => `${scale < 0.1 ? (100 * scale).toFixed(1) : Math.round(100 * scale)} %`;

/** Whether all is saved, and what is computed. */
function Status({ desk }) {
  const strokes = useStore(desk.strokes);
  const live = useStore(desk.live);
  const count = strokes.waiting.length;
  const saved = strokes.isAway
    ? `The server does not answer: ${count} ${count === 1 ? "stroke waits" : "strokes wait"} in this window`
    : count ? "Saving …" : "All strokes are saved";
  const busy = { forest: "training forest …", enhancer: "enhancing …" }[live.isBusy] ?? "";
  return html`
    <p class=${strokes.isAway ? "status warns" : "status"} role="status" data-saved=${count === 0}>
      <span>${saved}</span><span>${busy}</span>
    </p>
    ${strokes.problem && html`<p class="problem" role="alert">${strokes.problem}</p>`}
  `;
}
