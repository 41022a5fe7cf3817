/** The image on a canvas, with maps, strokes and places over it; what the mouse, pen or finger does there. */

import { Camera } from "./camera.js";
import { spansAlong } from "./spans.js";
import { Store } from "./store.js";
import { TILE, Tiles } from "./tiles.js";

const LARGE = 4096; // pixels of a side from which an image is opened at its middle, not as a whole

/** What is seen and how; and with what is painted. */
export class Tools extends Store {
  value = 2; // the class that is painted; 0 erases
  lastClass = 2;
  size = 8; // pixels of the image
  /** @type {"none" | import("./live.js").Kind} */
  overlay = "enhanced";
  mapOpacity = 0.5;
  strokeOpacity = 0.8;
  showsPlaces = true;
  zoom = 1;

  /** @param {number} value */
  take(value) {
    this.set({ value, lastClass: value || this.lastClass });
  }
}

export class Viewer {
  /** @type {import("./spans.js").Point[] | null} the way of a stroke */
  #way = null;
  /** @type {{left: number, top: number} | null} */
  #dragged = null;
  #pointer = null;
  #space = false;
  #asked = false;
  #shown = "";

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {{project: import("./project.js").Project, strokes: import("./strokes.js").Strokes,
   *   live: import("./live.js").Live, tools: Tools}} parts
   */
  constructor(canvas, parts) {
    Object.assign(this, parts, { canvas });
    this.camera = new Camera({ width: 1, height: 1 });
    this.tiles = new Tiles((place) => this.project.tile(place), () => this.draw(), 500);
    this.#observe();
    for (const store of [this.strokes, this.live, this.tools]) store.subscribe(() => this.draw());
    this.project.subscribe(() => this.#follow());
    this.#follow();
  }

  /** All of the image, or the middle of a large one at its own size. */
  home() {
    const { current: image } = this.project;
    if (Math.max(image.width, image.height) <= LARGE) this.camera.fit(image);
    else Object.assign(this.camera, { x: image.width / 2, y: image.height / 2, scale: 1 });
    this.moved();
  }

  fit() {
    this.camera.fit(this.project.current);
    this.moved();
  }

  zoom(factor) {
    this.camera.zoom(factor);
    this.moved();
  }

  actualSize() {
    this.zoom(1 / this.camera.scale);
  }

  pan(right, down) {
    this.camera.pan(right, down);
    this.moved();
  }

  /** Shows a place in the middle. */
  goTo({ x, y }) {
    Object.assign(this.camera, { x, y, scale: Math.max(this.camera.scale, 1) });
    this.moved();
  }

  seen() {
    return this.camera.seen(this.project.current);
  }

  moved() {
    this.tools.set({ zoom: this.camera.scale });
    this.live.soon();
    this.draw();
  }

  draw() {
    if (this.#asked) return;
    this.#asked = true;
    requestAnimationFrame(() => {
      this.#asked = false;
      this.#drawNow();
    });
  }

  /** Another image, plane, channel or contrast has other tiles. */
  #follow() {
    const { image, z, channel, contrast, current, colours } = this.project;
    if (!contrast || !current) return;
    const before = this.#shown && JSON.parse(this.#shown);
    const now = { image, z, channel, low: contrast.low, high: contrast.high, colours: colours.join() };
    if (JSON.stringify(now) === this.#shown) return this.draw();
    this.#shown = JSON.stringify(now);
    const isOther = !before || before.image !== image;
    const isOtherPlane = isOther || before.z !== z;
    this.tiles.clear(!isOtherPlane);
    if (isOtherPlane || before.colours !== now.colours) this.strokes.refresh(!isOtherPlane);
    if (isOtherPlane) this.live.clear();
    const size = (n) => `${this.project.images[n].width} ${this.project.images[n].height}`;
    if (!before || size(before.image) !== size(image)) this.home();
    this.live.soon();
    this.draw();
  }

  #drawNow() {
    const { canvas, camera, project } = this;
    const context = canvas.getContext("2d");
    const ratio = canvas.width / camera.view.width;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, camera.view.width, camera.view.height);
    if (!project.contrast) return;
    context.imageSmoothingEnabled = camera.scale * ratio < 1;
    const level = camera.level();
    for (const coarser of [3, 2, 1]) this.#drawTiles(context, this.tiles, level + coarser, false);
    this.#drawTiles(context, this.tiles, level);
    const { overlays } = this.live;
    const overlay = overlays[this.tools.overlay] ?? (this.tools.overlay === "enhanced" ? overlays.forest : undefined);
    if (overlay) {
      context.globalAlpha = this.tools.mapOpacity;
      this.#drawPart(context, overlay.canvas, overlay.x, overlay.y, overlay.width, overlay.height);
    }
    context.globalAlpha = this.tools.strokeOpacity;
    context.imageSmoothingEnabled = false;
    this.#drawTiles(context, this.strokes.tiles, level);
    context.globalAlpha = 1;
    if (this.tools.showsPlaces) this.#drawPlaces(context);
    this.#drawBrush(context);
  }

  /** @param {Tiles} tiles @param {boolean} [wanted] whether missing ones are loaded */
  #drawTiles(context, tiles, level, wanted = true) {
    const seen = this.seen();
    const side = TILE << level;
    const { width, height } = this.project.current;
    for (let y = Math.floor(seen.y[0] / side); y * side < seen.y[1]; y++) {
      for (let x = Math.floor(seen.x[0] / side); x * side < seen.x[1]; x++) {
        const tile = tiles.get({ level, y, x }, wanted);
        if (!tile) continue;
        const pixels = tile.values ? side : 0; // strokes fill their tile, images end where they end
        const right = pixels || Math.min(side, tile.canvas.width << level);
        const down = pixels || Math.min(side, tile.canvas.height << level);
        if (tile.values) this.#clipped(context, width, height, () => this.#drawPart(context, tile.canvas, x * side, y * side, right, down));
        else this.#drawPart(context, tile.canvas, x * side, y * side, right, down);
      }
    }
  }

  #clipped(context, width, height, draw) {
    const [a, b] = [this.camera.toScreen(0, 0), this.camera.toScreen(width, height)];
    context.save();
    context.beginPath();
    context.rect(a.left, a.top, b.left - a.left, b.top - a.top);
    context.clip();
    draw();
    context.restore();
  }

  #drawPart(context, canvas, x, y, width, height) {
    const { left, top } = this.camera.toScreen(x, y);
    const end = this.camera.toScreen(x + width, y + height);
    const [l, t] = [Math.round(left), Math.round(top)]; // whole pixels, so that no seams are seen
    context.drawImage(canvas, l, t, Math.round(end.left) - l, Math.round(end.top) - t);
  }

  #drawPlaces(context) {
    context.font = "bold 13px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    this.live.places.forEach((place, n) => {
      const { left, top } = this.camera.toScreen(place.x + 0.5, place.y + 0.5);
      context.beginPath();
      context.arc(left, top, 11, 0, 2 * Math.PI);
      context.fillStyle = "#111c";
      context.fill();
      context.lineWidth = 2;
      context.strokeStyle = "#fff";
      context.stroke();
      context.fillStyle = "#fff";
      context.fillText(String(n + 1), left, top + 0.5);
    });
  }

  #drawBrush(context) {
    if (!this.#pointer || this.#space) return;
    const { value, size } = this.tools;
    const radius = Math.max(1.5, (size / 2) * this.camera.scale);
    for (const [colour, width] of [["#000a", 3], [this.project.colours[value - 1] ?? "#fff", 1.5]]) {
      context.beginPath();
      context.arc(this.#pointer.left, this.#pointer.top, radius, 0, 2 * Math.PI);
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.stroke();
    }
  }

  #observe() {
    const { canvas } = this;
    new ResizeObserver(() => this.#resize()).observe(canvas);
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#up(event));
    canvas.addEventListener("pointercancel", (event) => this.#up(event));
    canvas.addEventListener("pointerleave", () => this.#leave());
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    const onSpace = (event) => event.code === "Space" && this.#hold(event);
    addEventListener("keydown", onSpace);
    addEventListener("keyup", onSpace);
  }

  #resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return; // another tab is shown
    const isFirst = this.camera.view.width <= 1;
    this.camera.view = { width, height };
    this.canvas.width = Math.round(width * devicePixelRatio);
    this.canvas.height = Math.round(height * devicePixelRatio);
    if (isFirst && this.project.current) this.home();
    this.draw();
  }

  #hold(event) {
    if (event.target.closest("input, textarea, select, button, summary, dialog")) return;
    event.preventDefault();
    this.#space = event.type === "keydown";
    this.canvas.classList.toggle("pans", this.#space);
    this.draw();
  }

  #place(event) {
    const box = this.canvas.getBoundingClientRect();
    return { left: event.clientX - box.left, top: event.clientY - box.top };
  }

  #down(event) {
    this.canvas.focus({ preventScroll: true });
    this.canvas.setPointerCapture(event.pointerId);
    this.#pointer = this.#place(event);
    if (this.#space || event.button > 0) this.#dragged = this.#pointer;
    else {
      this.#way = [];
      this.#extend([event]);
    }
  }

  #move(event) {
    const now = this.#place(event);
    if (this.#dragged) {
      this.pan(now.left - this.#dragged.left, now.top - this.#dragged.top);
      this.#dragged = now;
    } else if (this.#way) {
      const between = event.getCoalescedEvents?.() ?? [];
      this.#extend(between.length ? between : [event]);
    }
    this.#pointer = now;
    this.draw();
  }

  #up() {
    if (this.#way) this.strokes.paint(this.#spans(this.#way));
    this.#way = this.#dragged = null;
    this.draw();
  }

  #leave() {
    this.#pointer = null;
    this.draw();
  }

  #wheel(event) {
    event.preventDefault();
    const { left, top } = this.#place(event);
    this.camera.zoom(2 ** (-event.deltaY / (event.deltaMode ? 8 : 300)), left, top);
    this.moved();
  }

  /** Goes on with a stroke, and shows it. */
  #extend(events) {
    const last = this.#way.at(-1);
    const further = events.map((event) => {
      const { left, top } = this.#place(event);
      return this.camera.toImage(left, top);
    });
    this.#way.push(...further);
    this.strokes.show(this.#spans(last ? [last, ...further] : further));
  }

  #spans(way) {
    return spansAlong(way, this.tools.size / 2, this.tools.value, this.project.current);
  }
}
