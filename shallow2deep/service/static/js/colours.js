/** From numbers to pixels: strokes and maps in the colours of their classes. */

/** @param {string} hex @returns {number[]} */
const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

/**
 * Draws classes into a tile's canvas.
 * @param {OffscreenCanvas} canvas
 * @param {Uint8Array} values 0, or the number of a class
 * @param {string[]} colours
 */
export function drawClasses(canvas, values, colours) {
  const context = canvas.getContext("2d");
  const picture = context.createImageData(canvas.width, canvas.height);
  const pixels = new Uint32Array(picture.data.buffer);
  const table = [0, ...colours.map((hex) => packed(rgb(hex), 255))];
  for (let i = 0; i < values.length; i++) pixels[i] = table[values[i]] ?? 0;
  context.putImageData(picture, 0, 0);
}

/**
 * A map of classes: each pixel in the colour of the most probable one, as clear as that is probable.
 * @param {Uint8Array} values `(classes, height, width)`, 255 for 1
 * @param {number} width
 * @param {number} height
 * @param {string[]} colours of the classes
 */
export function mapPicture(values, width, height, colours) {
  const size = width * height;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  const picture = context.createImageData(width, height);
  const pixels = new Uint32Array(picture.data.buffer);
  const tables = colours.map((hex) => Uint32Array.from({ length: 256 }, (_, p) => packed(rgb(hex), p)));
  for (let i = 0; i < size; i++) {
    let best = 0;
    for (let k = 1; k < colours.length; k++) if (values[k * size + i] > values[best * size + i]) best = k;
    pixels[i] = tables[best][values[best * size + i]];
  }
  context.putImageData(picture, 0, 0);
  return canvas;
}

const packed = ([r, g, b], alpha) => ((alpha << 24) | (b << 16) | (g << 8) | r) >>> 0;
