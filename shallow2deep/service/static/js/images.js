/** The images of the project, and the planes, time points and channels of the one that is shown. */

import { html } from "../vendor/preact-htm.module.js";
import { useStore } from "./store.js";

/** @param {{project: import("./project.js").Project}} props */
export function ImageList({ project }) {
  useStore(project);
  const first = firstOfSeries(project.images);
  return html`
    <section class="images">
      <h2>Images <span class="count">${first.length}</span></h2>
      <ul>
        ${first.map((n) => {
          const image = project.images[n];
          const isShown = image.series === project.current?.series;
          const isPainted = project.images.some((one) => one.series === image.series && one.painted.some(Boolean));
          return html`
            <li key=${n}>
              <button class=${isShown ? "chosen" : ""} aria-current=${isShown} title=${image.series}
                onClick=${() => project.show(n)}>
                <span class="file">${image.name}</span>
                <span class="facts">${image.width} × ${image.height}${image.depth > 1 ? ` × ${image.depth}` : ""}${isPainted ? " · painted" : ""}</span>
              </button>
            </li>`;
        })}
      </ul>
    </section>
  `;
}

/** The first time point of each file. */
export function firstOfSeries(images) {
  return [...images.keys()].filter((n) => n === 0 || images[n].series !== images[n - 1].series);
}

/** Sliders over the image. */
export function Planes({ project }) {
  useStore(project);
  const { current: image, series } = project;
  if (!image) return null;
  return html`
    <div class="planes">
      ${image.depth > 1 && html`<${Slider} label="Plane" value=${project.z} count=${image.depth}
        choose=${(z) => project.show(project.image, z)} />`}
      ${series.length > 1 && html`<${Slider} label="Time" value=${project.image - series[0]} count=${series.length}
        choose=${(time) => project.show(series[time])} />`}
      ${image.channels.length > 1 && html`
        <label>Channel <select value=${project.channel}
          onChange=${(event) => project.show(project.image, project.z, Number(event.target.value))}>
          ${image.channels.map((name, n) => html`<option key=${n} value=${n}>${name}</option>`)}
        </select></label>`}
    </div>
  `;
}

function Slider({ label, value, count, choose }) {
  return html`
    <label>${label}
      <input type="range" min="0" max=${count - 1} value=${value} onInput=${(event) => choose(Number(event.target.value))} />
      <output>${value + 1} of ${count}</output>
    </label>
  `;
}
