/** Which part of an image is seen, and how large. */

export const LEAST = 1 / 256;
const MOST = 40;

export class Camera {
  x = 0; // the middle of the view, in pixels of the image
  y = 0;
  scale = 1; // pixels of the screen for one of the image

  /** @param {{width: number, height: number}} view in pixels of the screen */
  constructor(view) {
    this.view = view;
  }

  /** All of the image. @param {{width: number, height: number}} image */
  fit(image) {
    const margin = 0.96;
    const scale = margin * Math.min(this.view.width / image.width, this.view.height / image.height);
    Object.assign(this, { x: image.width / 2, y: image.height / 2, scale: clamp(scale, LEAST, MOST) });
  }

  /** A place, from the screen to the image. */
  toImage(left, top) {
    const { width, height } = this.view;
    return { x: this.x + (left - width / 2) / this.scale, y: this.y + (top - height / 2) / this.scale };
  }

  /** A place, from the image to the screen. */
  toScreen(x, y) {
    const { width, height } = this.view;
    return { left: (x - this.x) * this.scale + width / 2, top: (y - this.y) * this.scale + height / 2 };
  }

  /** Larger or smaller; what is at a place of the screen stays there. */
  zoom(factor, left = this.view.width / 2, top = this.view.height / 2) {
    const before = this.toImage(left, top);
    this.scale = clamp(this.scale * factor, LEAST, MOST);
    const after = this.toImage(left, top);
    this.x += before.x - after.x;
    this.y += before.y - after.y;
  }

  /** By pixels of the screen. */
  pan(right, down) {
    this.x -= right / this.scale;
    this.y -= down / this.scale;
  }

  /** The part of the image that is seen. @param {{width: number, height: number}} image */
  seen(image) {
    const [a, b] = [this.toImage(0, 0), this.toImage(this.view.width, this.view.height)];
    const clip = (value, most) => clamp(value, 0, most);
    return {
      x: [clip(Math.floor(a.x), image.width), clip(Math.ceil(b.x), image.width)],
      y: [clip(Math.floor(a.y), image.height), clip(Math.ceil(b.y), image.height)],
    };
  }

  /** The level of tiles that has about the pixels of the screen. */
  level(ratio = devicePixelRatio) {
    return Math.max(0, Math.floor(Math.log2(1 / (this.scale * ratio)) + 0.25));
  }
}

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
