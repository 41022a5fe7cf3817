/** What was learned, and how it is shown. */

import { html } from "../vendor/preact-htm.module.js";
import { useStore } from "./store.js";

const SCALES = [0.5, 0.7, 1, 1.4];
const OVERLAYS = [["none", "none"], ["forest", "forest"], ["enhanced", "enhanced"], ["disagreement", "where they differ"]];

/** The maps: which, by which enhancer, and where to paint next. */
export function LivePanel({ desk }) {
  const live = useStore(desk.live);
  const tools = useStore(desk.tools);
  const project = useStore(desk.project);
  const again = (values) => {
    live.set(values);
    live.now();
  };
  const choose = async (enhancer) => {
    await project.change({ enhancer });
    live.now();
  };
  return html`
    <section>
      <h2>Result</h2>
      <label class="row switch"><input type="checkbox" checked=${live.isOn}
        onChange=${(event) => again({ isOn: event.target.checked })} /> learn after each stroke</label>
      <fieldset class="choices">
        <legend>Map over the image <kbd>M</kbd></legend>
        ${OVERLAYS.map(([kind, title]) => html`
          <label key=${kind}><input type="radio" name="overlay" value=${kind} checked=${tools.overlay === kind}
            onChange=${() => tools.set({ overlay: kind })} /> ${title}</label>`)}
      </fieldset>
      <${Opacity} label="Map" value=${tools.mapOpacity} set=${(mapOpacity) => tools.set({ mapOpacity })} />
      <label class="column">Enhancer
        <select value=${project.enhancer} onChange=${(event) => choose(event.target.value)}>
          ${names(project).map((name) => html`<option key=${name} value=${name}>${name}</option>`)}
        </select>
      </label>
      <label class="row" title="How the image is resized for the enhancer, which knows things of a certain size in pixels. A run tries all of them.">
        <span>Size of things</span>
        <select value=${live.scale} onChange=${(event) => again({ scale: Number(event.target.value) })}>
          ${SCALES.map((scale) => html`<option key=${scale} value=${scale}>× ${scale}</option>`)}
        </select>
      </label>
      <label class="row switch" title="A second network that sees the image beside the map; takes as long again.">
        <input type="checkbox" checked=${live.withRaw} onChange=${(event) => again({ withRaw: event.target.checked })} />
        with raw image (slower)</label>
      <p class="hint" data-forest=${live.took.forest ?? ""} data-enhanced=${live.took.enhanced ?? ""}>
        ${live.took.forest ? `Forest in ${seconds(live.took.forest)}` : ""}${live.took.enhanced ? `, enhanced in ${seconds(live.took.enhanced)}` : ""}
      </p>
      ${live.problem && html`<p class="note" role="status">${live.problem}</p>`}
    </section>
    <section>
      <h2>Where to paint next</h2>
      <label class="row switch"><input type="checkbox" checked=${tools.showsPlaces}
        onChange=${(event) => tools.set({ showsPlaces: event.target.checked })} /> show on the image</label>
      <div class="places">
        ${live.places.map((place, n) => html`
          <button key=${n} aria-label=${`Go to place ${n + 1}`} onClick=${() => desk.viewer.goTo(place)}>${n + 1}</button>`)}
        ${!live.places.length && html`<p class="hint">Shown where forest and enhancer differ.</p>`}
      </div>
    </section>
  `;
}

const names = (project) => {
  const listed = project.models.map((model) => model.name);
  return listed.includes(project.enhancer) ? listed : [project.enhancer, ...listed];
};

const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;

/** Contrast and opacity. */
export function ViewPanel({ desk }) {
  const tools = useStore(desk.tools);
  const project = useStore(desk.project);
  const { contrast, current } = project;
  if (!contrast) return null;
  const step = (contrast.most - contrast.least) / 500;
  const set = (values) => project.set({ contrast: { ...contrast, ...values } });
  const limit = (label, name) => html`
    <label class="row"><span>${label}</span>
      <input type="range" min=${contrast.least} max=${contrast.most} step=${step} value=${contrast[name]}
        onChange=${(event) => set({ [name]: Number(event.target.value) })} />
      <output class="number">${shown(contrast[name])}</output></label>`;
  return html`
    <section>
      <h2>Display</h2>
      ${limit("Black", "low")} ${limit("White", "high")}
      <button class="wide" onClick=${() => project.autoContrast()}>Automatic contrast <kbd>C</kbd></button>
      <${Opacity} label="Strokes" value=${tools.strokeOpacity} set=${(strokeOpacity) => tools.set({ strokeOpacity })} />
      ${current.channels.length > 1 && html`<${LearnOn} project=${project} channels=${current.channels} />`}
    </section>
  `;
}

const shown = (value) => (Math.abs(value) >= 10 ? Math.round(value) : value.toPrecision(3));

function LearnOn({ project, channels }) {
  const value = Array.isArray(project.learn_on) ? String(project.learn_on[0]) : project.learn_on;
  const choose = (text) => project.change({ learn_on: /^\d+$/.test(text) ? [Number(text)] : text });
  return html`
    <label class="column">Learn on
      <select value=${value} onChange=${(event) => choose(event.target.value)}>
        <option value="grey">grey (of colours)</option>
        <option value="each">each channel</option>
        ${channels.map((name, n) => html`<option key=${n} value=${n}>channel ${name}</option>`)}
      </select>
    </label>
  `;
}

function Opacity({ label, value, set }) {
  return html`
    <label class="row"><span>${label}</span>
      <input type="range" min="0" max="1" step="0.05" value=${value} aria-label=${`Opacity of ${label.toLowerCase()}`}
        onInput=${(event) => set(Number(event.target.value))} />
      <output class="number">${Math.round(100 * value)} %</output></label>
  `;
}
