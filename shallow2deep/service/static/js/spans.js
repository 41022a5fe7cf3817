/** From the way of a brush to the pixels under it, line by line. */

/**
 * @typedef {[number, number, number, number]} Span y, first x, x behind the last, value
 * @typedef {{x: number, y: number}} Point in pixels of the image
 * @typedef {{height: number, width: number}} Size
 */

/**
 * Pixels whose middle is within the radius of the way.
 * @param {Point[]} points
 * @param {number} radius
 * @param {number} value
 * @param {Size} size what lies outside is left out
 * @returns {Span[]}
 */
export function spansAlong(points, radius, value, size) {
  /** @type {Map<number, [number, number][]>} */
  const lines = new Map();
  for (const point of inSteps(points, Math.max(0.5, radius / 6))) stamp(lines, point, radius, size);
  return [...lines].flatMap(([y, parts]) => joined(parts).map(([first, last]) => [y, first, last, value]));
}

/** @param {Map<number, [number, number][]>} lines @param {Point} at @param {number} radius @param {Size} size */
function stamp(lines, at, radius, size) {
  const top = Math.max(0, Math.ceil(at.y - radius - 0.5));
  const bottom = Math.min(size.height - 1, Math.floor(at.y + radius - 0.5));
  for (let y = top; y <= bottom; y++) {
    const half = Math.sqrt(Math.max(0, radius ** 2 - (y + 0.5 - at.y) ** 2));
    const first = Math.max(0, Math.ceil(at.x - half - 0.5));
    const last = Math.min(size.width, Math.floor(at.x + half - 0.5) + 1);
    if (first >= last) continue;
    if (!lines.has(y)) lines.set(y, []);
    lines.get(y).push([first, last]);
  }
}

/** Points on the way, none farther from the next than a step. @param {Point[]} points @param {number} step */
function* inSteps(points, step) {
  yield points[0];
  for (let n = 1; n < points.length; n++) {
    const [from, to] = [points[n - 1], points[n]];
    const count = Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) / step);
    for (let i = 1; i <= count; i++) {
      yield { x: from.x + ((to.x - from.x) * i) / count, y: from.y + ((to.y - from.y) * i) / count };
    }
  }
}

/** Parts of a line without overlap. @param {[number, number][]} parts */
function joined(parts) {
  parts.sort((a, b) => a[0] - b[0]);
  const found = [parts[0].slice()];
  for (const [first, last] of parts.slice(1)) {
    const before = found[found.length - 1];
    if (first <= before[1]) before[1] = Math.max(before[1], last);
    else found.push([first, last]);
  }
  return found;
}
