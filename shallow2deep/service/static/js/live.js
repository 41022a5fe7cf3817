/** The maps of what is seen, anew after each stroke; what is out of date is given up. */

import { request } from "./api.js";
import { mapPicture } from "./colours.js";
import { client } from "./project.js";
import { Store } from "./store.js";

const CALM = 250; // ms without a change of the view before it is predicted
const LARGEST = 2 ** 20; // pixels
const DIFFERENCE = "#ff30a0";

/**
 * @typedef {{x: number, y: number, width: number, height: number, canvas: OffscreenCanvas}} Overlay
 * @typedef {"forest" | "enhanced" | "disagreement"} Kind
 */

export class Live extends Store {
  isOn = true;
  isBusy = "";
  problem = "Paint a stroke of each class: something of what you look for, and something else.";
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
    const isPainted = this.project.images.some((image) => image.painted.some(Boolean));
    if (!this.isOn || !isPainted) return this.set({ isBusy: "" });
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
    this.#show("forest", wish, values.subarray(shape[1] * shape[2]), this.#foreground);
    this.took = { forest: performance.now() - begun };
    this.set({ problem: "" });
  }

  async #enhanced(wish, begun, signal) {
    const { values, shape, places } = await this.#map("enhanced", wish, signal);
    const differing = values.subarray((shape[0] - 1) * shape[1] * shape[2]);
    this.#show("enhanced", wish, values, this.#foreground);
    this.#show("disagreement", wish, differing, [DIFFERENCE]);
    this.took.enhanced = performance.now() - begun;
    this.set({ places: places.map(([y, x]) => ({ y, x })) });
  }

  /** The colours of all classes but the first, whose pixels are left clear. */
  get #foreground() {
    return this.project.colours.slice(1);
  }

  async #map(kind, wish, signal) {
    const response = await request(`painting/live/${kind}`, { method: "POST", json: wish, signal });
    const values = new Uint8Array(await response.arrayBuffer());
    if (signal.aborted) throw new DOMException("", "AbortError");
    return { values, ...JSON.parse(response.headers.get("x-facts")) };
  }

  #show(kind, { x, y }, values, colours) {
    const [width, height] = [x[1] - x[0], y[1] - y[0]];
    const canvas = mapPicture(values, width, height, colours);
    this.overlays = { ...this.overlays, [kind]: { x: x[0], y: y[0], width, height, canvas } };
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
