/** Keys, and the sheet that lists them. */

import { html, useEffect, useRef } from "../vendor/preact-htm.module.js";
import { firstOfSeries } from "./images.js";

const OVERLAYS = ["none", "forest", "enhanced", "disagreement"];

/** @type {[string, string, (desk: import("./main.js").Desk) => void][]} key, what it does, and that */
const KEYS = [
  ["e", "eraser and back", ({ tools }) => tools.take(tools.value ? 0 : tools.lastClass)],
  ["b", "brush", ({ tools }) => tools.take(tools.lastClass)],
  ["[", "smaller brush", ({ tools }) => tools.set({ size: Math.max(1, Math.floor(tools.size / 1.25)) })],
  ["]", "larger brush", ({ tools }) => tools.set({ size: Math.min(100, Math.ceil(tools.size * 1.25)) })],
  ["m", "next map over the image", ({ tools }) => tools.set({ overlay: following(OVERLAYS, tools.overlay) })],
  ["s", "strokes seen or not", ({ tools }) => tools.set({ strokeOpacity: tools.strokeOpacity ? 0 : 0.8 })],
  ["w", "places to paint seen or not", ({ tools }) => tools.set({ showsPlaces: !tools.showsPlaces })],
  ["c", "automatic contrast", ({ project }) => project.autoContrast()],
  ["+", "zoom in", ({ viewer }) => viewer.zoom(1.5)],
  ["-", "zoom out", ({ viewer }) => viewer.zoom(1 / 1.5)],
  ["0", "fit the image into the window", ({ viewer }) => viewer.fit()],
  ["n", "next image", (desk) => otherImage(desk, 1)],
  ["p", "image before", (desk) => otherImage(desk, -1)],
  ["PageUp", "next plane", ({ project }) => plane(project, 1)],
  ["PageDown", "plane before", ({ project }) => plane(project, -1)],
  ["ArrowLeft", "move the view left", ({ viewer }) => viewer.pan(80, 0)],
  ["ArrowRight", "move it right", ({ viewer }) => viewer.pan(-80, 0)],
  ["ArrowUp", "move it up", ({ viewer }) => viewer.pan(0, 80)],
  ["ArrowDown", "move it down", ({ viewer }) => viewer.pan(0, -80)],
];
const OTHERS = [
  ["1 … 9", "paint that class"],
  ["Ctrl Z", "undo a stroke"],
  ["Ctrl Y", "do it again"],
  ["Mouse", "paint; the wheel zooms; with Space or another button it moves the view"],
  ["?", "this sheet"],
];

/** @param {KeyboardEvent} event @param {import("./main.js").Desk} desk @param {() => void} help */
export function onKey(event, desk, help) {
  if (event.target.closest("input:not([type=radio], [type=checkbox]), select, textarea, dialog")) return;
  if (event.ctrlKey || event.metaKey) onHistory(event, desk.strokes);
  else if (event.altKey) return;
  else if (event.key === "?") help();
  else if (/^[1-9]$/.test(event.key)) chooseClass(desk, Number(event.key));
  else {
    const found = KEYS.find(([key]) => key === event.key || key === event.key.toLowerCase());
    if (!found || (event.key.startsWith("Arrow") && event.target.matches("input"))) return;
    event.preventDefault();
    found[2](desk);
  }
}

function onHistory(event, strokes) {
  const key = event.key.toLowerCase();
  if (key !== "z" && key !== "y") return;
  event.preventDefault();
  if (key === "y" || event.shiftKey) strokes.redo();
  else strokes.undo();
}

function chooseClass({ project, tools }, number) {
  if (number <= project.classes.length) tools.take(number);
}

const following = (list, one) => list[(list.indexOf(one) + 1) % list.length];

function otherImage({ project }, step) {
  const first = firstOfSeries(project.images);
  const at = first.indexOf(project.series[0]);
  project.show(first[(at + step + first.length) % first.length]);
}

function plane(project, step) {
  const z = project.z + step;
  if (z >= 0 && z < project.current.depth) project.show(project.image, z);
}

/** @param {{isOpen: boolean, close: () => void}} props */
export function Help({ isOpen, close }) {
  const dialog = useRef(null);
  useEffect(() => {
    if (isOpen) dialog.current.showModal();
    else dialog.current.close();
  }, [isOpen]);
  const rows = [...KEYS.map(([key, text]) => [key.replace("Arrow", "Arrow "), text]), ...OTHERS];
  return html`
    <dialog ref=${dialog} onClose=${close} aria-labelledby="keys">
      <h2 id="keys">Keys</h2>
      <dl class="keys">${rows.map(([key, text]) => html`<div key=${key}><dt><kbd>${key}</kbd></dt><dd>${text}</dd></div>`)}</dl>
      <button onClick=${close}>Close</button>
    </dialog>
  `;
}
