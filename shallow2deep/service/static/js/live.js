/** The maps of what is seen, anew after each stroke; what is out of date is given up. */

import { request } from "./api.js";
import { mapPicture } from "./colours.js";
import { client } from "./project.js";
import { Store } from "./store.js";

const CALM = 250; // ms without a change of the view before it is predicted
const LARGEST = 2 ** 20; // pixels

/**
 * @typedef {{x: number, y: number, width: number, height: number, canvas: OffscreenCanvas}} Overlay
 * @typedef {"forest" | "enhanced" | "disagreement"} Kind
 */

export class Live extends Store {
  isOn = true;
  isBusy = "";
  problem = "";
  scale = 1;
  withRaw = false;
  /** @type {Partial<Record<Kind, Overlay>>} */
  overlays = {};
  /** @type {{y: number, x: number}[]} */
  places = [];
  /** @type {{forest?: number, enhanced?: number}} ms from the wish to the map */
  took = {};
  #turn = 0;
  #timer = 0;
  #abort = new AbortController();

  /**
   * @param {import("./project.js").Project} project
   * @param {() => {x: number[], y: number[]}} seen the part of the image that is looked at
   */
  constructor(project, seen) {
    super();
    Object.assign(this, { project, seen });
  }

  /** Forgets the maps, as another image is shown. */
  clear() {
    this.set({ overlays: {}, places: [], took: {} });
  }

  /** Asks for maps once nothing has changed for a moment. */
  soon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.now(), CALM);
  }

  /** Asks for maps of what is seen, and ends what was asked for before. */
  async now() {
    clearTimeout(this.#timer);
    this.#abort.abort();
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    if (!this.isOn) return this.set({ isBusy: "" });
    const part = bounded(this.seen());
    if (!part) return;
    const { image, z } = this.project;
    const wish = { client, turn: ++this.#turn, image, z, ...part, scale: this.scale, raw: this.withRaw };
    const begun = performance.now();
    try {
      this.set({ isBusy: "forest" });
      await this.#forest(wish, begun, signal);
      this.set({ isBusy: "enhancer" });
      await this.#enhanced(wish, begun, signal);
      this.set({ isBusy: "", problem: "" });
    } catch (error) {
      if (signal.aborted || error.status === 409) return;
      this.set({ isBusy: "", problem: error.message });
    }
  }

  async #forest(wish, begun, signal) {
    const { values, shape } = await this.#map("forest", wish, signal);
    const colours = this.project.colours;
    this.#show("forest", wish, mapPicture(values, shape[2], shape[1], colours));
    this.took = { forest: performance.now() - begun };
    this.set({ problem: "" });
  }

  async #enhanced(wish, begun, signal) {
    const { values, shape, places } = await this.#map("enhanced", wish, signal);
    const [count, height, width] = shape;
    const parts = values.subarray(0, (count - 1) * height * width);
    const colours = this.project.colours;
    this.#show("enhanced", wish, mapPicture(withBackground(parts, count - 1), width, height, colours));
    this.#show("disagreement", wish, mapPicture(values.subarray(parts.length), width, height, ["#ff30a0"]));
    this.took.enhanced = performance.now() - begun;
    this.set({ places: places.map(([y, x]) => ({ y, x })) });
  }

  async #map(kind, wish, signal) {
    const response = await request(`painting/live/${kind}`, { method: "POST", json: wish, signal });
    const values = new Uint8Array(await response.arrayBuffer());
    if (signal.aborted) throw new DOMException("", "AbortError");
    return { values, ...JSON.parse(response.headers.get("x-facts")) };
  }

  #show(kind, { x, y }, canvas) {
    const at = { x: x[0], y: y[0], width: x[1] - x[0], height: y[1] - y[0] };
    this.overlays = { ...this.overlays, [kind]: { ...at, canvas } };
  }
}

/** The middle of what is seen, where that is too much. */
function bounded({ x, y }) {
  const [width, height] = [x[1] - x[0], y[1] - y[0]];
  if (width <= 0 || height <= 0) return null;
  if (width * height <= LARGEST) return { x, y };
  const shrink = Math.sqrt(LARGEST / (width * height));
  return { x: middle(x, shrink), y: middle(y, shrink) };
}

function middle([first, last], shrink) {
  const half = Math.floor(((last - first) * shrink) / 2);
  const centre = Math.floor((first + last) / 2);
  return [centre - half, centre + half];
}

/** Maps of all but the first class, with what they lack as that of the first. */
function withBackground(values, count) {
  const size = values.length / count;
  const all = new Uint8Array(size + values.length);
  all.set(values, size);
  for (let i = 0; i < size; i++) {
    let most = 0;
    for (let k = 0; k < count; k++) most = Math.max(most, values[k * size + i]);
    all[i] = 255 - most;
  }
  return all;
}
