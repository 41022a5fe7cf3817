/** Tiles of images and strokes: loaded when they are looked at, the newest wish first, and kept for a while. */

export const TILE = 256;
const MOST_LOADING = 6;
const MOST_WAITING = 60; // older wishes are of a view that was left

/**
 * @typedef {{level: number, y: number, x: number}} Place
 * @typedef {{canvas: CanvasImageSource, values?: Uint8Array}} Tile
 */

export class Tiles {
  /** @type {Map<string, Tile>} */
  #kept = new Map();
  /** @type {Map<string, Place>} */
  #waiting = new Map();
  #loading = new Set();
  #generation = 0;

  /**
   * @param {(place: Place) => Promise<Tile>} load
   * @param {() => void} loaded called when there is another one
   * @param {number} [most] tiles that are kept
   */
  constructor(load, loaded, most = 400) {
    Object.assign(this, { load, loaded, most });
  }

  /** The tile, or undefined while it is loaded. @param {Place} place @param {boolean} [wanted] */
  get(place, wanted = true) {
    const key = `${place.level}/${place.y}/${place.x}`;
    const tile = this.#kept.get(key);
    if (tile) {
      this.#kept.delete(key); // so that it is the newest
      this.#kept.set(key, tile);
    } else if (wanted && !this.#loading.has(key)) {
      this.#waiting.delete(key);
      this.#waiting.set(key, place);
      this.#next();
    }
    return tile;
  }

  /** Tiles that are there. @returns {[Place, Tile][]} */
  present() {
    return [...this.#kept].map(([key, tile]) => {
      const [level, y, x] = key.split("/").map(Number);
      return [{ level, y, x }, tile];
    });
  }

  /** Loads a tile again, and shows the old one meanwhile. @param {Place} place */
  refresh(place) {
    this.#waiting.set(`${place.level}/${place.y}/${place.x}`, place);
    this.#next();
  }

  /** Forgets all. @param {boolean} [keepShowing] until the new ones are there */
  clear(keepShowing = false) {
    this.#generation++;
    this.#waiting.clear();
    this.#loading.clear();
    if (keepShowing) for (const [place] of this.present().slice(-MOST_WAITING)) this.refresh(place);
    else this.#kept.clear();
  }

  get isLoading() {
    return this.#loading.size + this.#waiting.size > 0;
  }

  #next() {
    while (this.#waiting.size > MOST_WAITING) this.#waiting.delete(this.#waiting.keys().next().value);
    while (this.#waiting.size && this.#loading.size < MOST_LOADING) {
      const [key, place] = [...this.#waiting].pop();
      this.#waiting.delete(key);
      this.#loading.add(key);
      this.#fetch(key, place, this.#generation);
    }
  }

  async #fetch(key, place, generation) {
    let tile = null;
    try {
      tile = await this.load(place);
    } catch {
      await new Promise((done) => setTimeout(done, 1000)); // the server is away; it is asked for again
    }
    if (generation !== this.#generation) return;
    this.#loading.delete(key);
    if (tile) {
      this.#kept.set(key, tile);
      while (this.#kept.size > this.most) this.#kept.delete(this.#kept.keys().next().value);
    }
    this.loaded();
    this.#next();
  }
}
