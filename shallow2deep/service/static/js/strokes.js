/**
 * Strokes: shown at once, sent one after the other, undone and done again.
 *
 * The server says what was there before each stroke; that undoes it. What could not be sent waits in this window
 * and is sent when the server answers again.
 */

import { events, send } from "./api.js";
import { client } from "./project.js";
import { drawClasses } from "./colours.js";
import { Store } from "./store.js";
import { TILE, Tiles } from "./tiles.js";

const MOST_UNDONE = 500;
const PAUSE = 1000; // ms between two tries to reach the server

/**
 * @typedef {import("./spans.js").Span} Span
 * @typedef {{image: number, z: number, spans: Span[], before: Span[] | null}} Stroke
 * @typedef {{id: string, stroke: Stroke, undo: boolean}} Wish id: by which the server knows one that comes twice
 */

export class Strokes extends Store {
  /** @type {Stroke[]} */
  done = [];
  /** @type {Stroke[]} */
  undone = [];
  /** @type {Wish[]} */
  waiting = [];
  isAway = false;
  problem = "";
  #sending = false;
  #epoch = "";
  #revision = 0;
  #count = 0;

  /**
   * @param {import("./project.js").Project} project
   * @param {() => void} painted called when strokes of any window have changed
   */
  constructor(project, painted) {
    super();
    Object.assign(this, { project, painted });
    this.tiles = new Tiles((place) => this.#load(place), () => this.changed(), 300);
    addEventListener("beforeunload", (event) => this.waiting.length && event.preventDefault());
    this.#listen();
  }

  /** @param {Span[]} spans */
  paint(spans) {
    if (!spans.length) return;
    const stroke = { image: this.project.image, z: this.project.z, spans, before: null };
    this.done = [...this.done, stroke].slice(-MOST_UNDONE);
    this.undone = [];
    this.project.current.painted = [1]; // the list marks it; the server knows how many
    this.project.changed();
    this.#wish(stroke, false);
  }

  undo() {
    const stroke = this.done.pop();
    if (!stroke) return;
    this.undone.push(stroke);
    this.#wish(stroke, true);
  }

  redo() {
    const stroke = this.undone.pop();
    if (!stroke) return;
    this.done.push(stroke);
    this.#wish(stroke, false);
  }

  /** Forgets the tiles, as another image is shown or colours have changed. */
  refresh(keepShowing = false) {
    this.tiles.clear(keepShowing);
    this.changed();
  }

  /** Shows spans at once, on the tiles that are there. @param {Span[]} spans */
  show(spans) {
    for (const [place, tile] of this.tiles.present()) {
      if (fill(tile.values, place, spans)) drawClasses(tile.canvas, tile.values, this.project.colours);
    }
    this.changed();
  }

  #wish(stroke, undo) {
    this.waiting.push({ id: `${client} ${this.#count++}`, stroke, undo });
    const spans = undo ? stroke.before : stroke.spans;
    if (spans && this.#isShown(stroke)) this.show(spans);
    this.changed();
    this.#sendAll();
  }

  #isShown({ image, z }) {
    return image === this.project.image && z === this.project.z;
  }

  async #sendAll() {
    if (this.#sending) return;
    this.#sending = true;
    while (this.waiting.length) {
      try {
        await this.#sendOne(this.waiting[0]);
        this.waiting.shift();
        this.set({ isAway: false, problem: "" });
      } catch (error) {
        if (error.status >= 400 && error.status < 500) {
          const { stroke } = this.waiting.shift(); // it would be refused again
          this.done = this.done.filter((one) => one !== stroke);
          this.problem = error.message;
          this.refresh();
        } else {
          this.set({ isAway: true, problem: error.status ? error.message : "" });
          await new Promise((done) => setTimeout(done, PAUSE));
        }
      }
    }
    this.#sending = false;
    this.painted();
  }

  /** @param {Wish} wish */
  async #sendOne({ id, stroke, undo }) {
    const { image, z } = stroke;
    const spans = undo ? stroke.before : stroke.spans;
    const { before } = await send("painting/strokes", { client, id, image, z, spans });
    if (!undo) stroke.before = before;
    if (this.#isShown(stroke)) this.#settle(spans, undo && !this.waiting.some((wish) => wish !== this.waiting[0]));
  }

  /** Loads tiles again that only the server can draw: those of which each pixel stands for several. */
  #settle(spans, show) {
    if (show) this.show(spans);
    for (const [place] of this.tiles.present()) {
      if (place.level > 0 && spans.some((span) => touches(place, span))) this.tiles.refresh(place);
    }
  }

  async #load(place) {
    const { image, z, colours } = this.project;
    const values = await this.project.strokeTile(place);
    const unsent = this.waiting.filter(({ stroke }) => stroke.image === image && stroke.z === z);
    for (const { stroke, undo } of unsent) fill(values, place, (undo ? stroke.before : stroke.spans) ?? []);
    const canvas = new OffscreenCanvas(TILE, TILE);
    drawClasses(canvas, values, colours);
    return { canvas, values };
  }

  /** Follows the strokes of other windows, also after the server was away. */
  async #listen() {
    for (;;) {
      try {
        const since = this.#epoch ? `?since=${this.#revision}` : "";
        for await (const { kind, data } of events(`painting/events${since}`, new AbortController().signal)) {
          this.#hear(kind, data);
        }
      } catch {
        // it is tried again below
      }
      await new Promise((done) => setTimeout(done, PAUSE));
    }
  }

  #hear(kind, data) {
    if (kind === "hello") {
      const isOther = this.#epoch && data.epoch !== this.#epoch;
      if (!this.#epoch || isOther) this.#revision = data.revision;
      this.#epoch = data.epoch;
      if (isOther) this.#reload();
    } else if (kind === "reload") {
      this.#revision = data;
      this.#reload();
    } else {
      this.#revision = data.revision;
      if (data.image < 0) this.#reload();
      else if (data.client !== client) {
        if (this.#isShown(data)) {
          this.show(data.spans);
          this.#settle(data.spans, false);
        }
        this.painted();
      }
    }
  }

  async #reload() {
    await this.project.reload();
    this.refresh(true);
    this.painted();
  }
}

/** Whether a span is on a tile. */
function touches({ level, y, x }, [line, first, last]) {
  const side = TILE << level;
  return line >= y * side && line < (y + 1) * side && first < (x + 1) * side && last > x * side;
}

/** Writes spans into a tile's values; whether any was on it. @param {Uint8Array} values */
function fill(values, place, spans) {
  let any = false;
  for (const span of spans) {
    if (!touches(place, span)) continue;
    const [line, first, last, value] = span;
    const row = (line >> place.level) - place.y * TILE;
    const from = Math.max(0, (first >> place.level) - place.x * TILE);
    const to = Math.min(TILE, ((last - 1) >> place.level) - place.x * TILE + 1);
    values.fill(value, row * TILE + from, row * TILE + to);
    any = true;
  }
  return any;
}
