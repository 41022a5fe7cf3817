/** The project that is painted on: images, classes, and what is chosen in this window. */

import { getJson, request, send } from "./api.js";
import { Store } from "./store.js";

/**
 * @typedef {{name: string, height: number, width: number, depth: number, channels: string[], dtype: string,
 *   voxel_size: number[] | null, series: string, painted: number[]}} PaintedImage
 */

/** A name for this window, by which its strokes are told from those of others. */
export const client = crypto.randomUUID?.() ?? String(Math.random());

export class Project extends Store {
  /** @type {PaintedImage[]} */
  images = [];
  classes = [];
  colours = [];
  enhancer = "";
  learn_on = "grey";
  folder = "";
  /** @type {{name: string, description: string}[]} */
  models = [];
  image = 0;
  z = 0;
  channel = 0;
  /** @type {{low: number, high: number, least: number, most: number} | null} */
  contrast = null;
  problem = "";

  /** Whether the server has a project; false where it was started without images. */
  async load() {
    const [found, models] = await Promise.all([this.#found(), getJson("models")]);
    if (!found) return false;
    this.set({ ...found, models });
    await this.show(this.image);
    return true;
  }

  async #found() {
    try {
      return await getJson("painting");
    } catch (error) {
      if (error.status === 404) return null;
      throw error;
    }
  }

  get current() {
    return this.images[this.image];
  }

  /** Images of the same file: time points. */
  get series() {
    const numbers = [...this.images.keys()];
    return numbers.filter((n) => this.images[n].series === this.current?.series);
  }

  /** Another image, plane or channel, with a contrast that shows what is in it. */
  async show(image, z = null, channel = null) {
    const other = this.images[image];
    const sameFile = other.series === this.current.series;
    const chosen = {
      image,
      z: z ?? (sameFile ? Math.min(this.z, other.depth - 1) : Math.floor(other.depth / 2)),
      channel: channel ?? (sameFile || this.channel < other.channels.length ? this.channel : 0),
    };
    const keeps = this.contrast && sameFile && chosen.channel === this.channel;
    if (keeps) return this.set(chosen);
    await this.autoContrast(chosen);
  }

  /** What of an image's values is black and white. */
  async autoContrast(chosen = { image: this.image, z: this.z, channel: this.channel }) {
    const { image, z, channel } = chosen;
    const contrast = await getJson(`painting/images/${image}/range?z=${z}&channel=${channel}`);
    this.set({ ...chosen, contrast });
  }

  /** Changes settings of the project; a refusal is shown. @param {object} values */
  async change(values) {
    try {
      const found = await send("painting", values, "PATCH");
      this.set({ ...found, problem: "" });
    } catch (error) {
      this.set({ problem: error.message });
    }
  }

  /** Reads again what another window may have changed. */
  async reload() {
    this.set(await getJson("painting"));
  }

  /** A tile of the image that is shown, as a picture. @param {import("./tiles.js").Place} place */
  async tile({ level, y, x }) {
    const { low, high } = this.contrast;
    const which = `z=${this.z}&channel=${this.channel}&low=${low}&high=${high}`;
    const response = await request(`painting/images/${this.image}/tiles/${level}/${y}/${x}?${which}`);
    return { canvas: await createImageBitmap(await response.blob()) };
  }

  /** A tile of the strokes on it. @param {import("./tiles.js").Place} place */
  async strokeTile({ level, y, x }) {
    const path = `painting/images/${this.image}/strokes/${level}/${y}/${x}?z=${this.z}`;
    return new Uint8Array(await (await request(path)).arrayBuffer());
  }
}
