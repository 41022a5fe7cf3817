/** Losses and scores over steps. */

import { html, useEffect, useRef } from "../vendor/preact-htm.module.js";
import uPlot from "../vendor/uPlot.esm.js";

const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
const HEIGHT = 240;

/** @param {{series: Map<string, [number, number][]>}} props by title, points of step and value */
export function Curves({ series }) {
  const place = useRef(null);
  useEffect(() => {
    if (!series.size) return undefined;
    const plot = new uPlot(options(place.current, [...series.keys()]), aligned(series), place.current);
    const fit = new ResizeObserver(() => plot.setSize({ width: place.current.clientWidth, height: HEIGHT }));
    fit.observe(place.current);
    return () => {
      fit.disconnect();
      plot.destroy();
    };
  }, [series]);
  return html`<div class="curves" ref=${place} role="img" aria-label=${described(series)} hidden=${!series.size}></div>`;
}

function options(place, titles) {
  const ink = getComputedStyle(place).color;
  const axis = { stroke: ink, grid: { stroke: "#8884" }, ticks: { stroke: "#8884" } };
  const lines = titles.map((label, n) => ({ label, stroke: COLOURS[n % COLOURS.length], width: 1.5, spanGaps: true }));
  return {
    width: place.clientWidth || 600,
    height: HEIGHT,
    scales: { x: { time: false } },
    axes: [{ ...axis, label: "step" }, axis],
    series: [{ label: "step" }, ...lines],
  };
}

/** As uPlot takes them: all steps, and for each title a value at each of them or null. */
function aligned(series) {
  const steps = [...new Set([...series.values()].flatMap((points) => points.map(([step]) => step)))].sort((a, b) => a - b);
  const values = [...series.values()].map((points) => {
    const known = new Map(points);
    return steps.map((step) => known.get(step) ?? null);
  });
  return [steps, ...values];
}

const described = (series) =>
  [...series].map(([title, points]) => `${title} ${points.at(-1)[1].toPrecision(3)} at step ${points.at(-1)[0]}`).join("; ");
