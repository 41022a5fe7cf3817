/** Two runs side by side: settings that differ, and scores. */

import { html, useEffect, useState } from "../vendor/preact-htm.module.js";
import { getJson } from "./api.js";

const SCORES = [["accuracy", "right"], ["gain", "gain over forest"], ["consistency", "consistency"]];

/** @param {{pair: object[]}} props two jobs */
export function Comparison({ pair }) {
  const [found, setFound] = useState(null);
  const [problem, setProblem] = useState("");
  useEffect(() => {
    setFound(null);
    Promise.all(pair.map((job) => getJson(`jobs/${job.id}/summary`))).then(setFound, (error) => setProblem(error.message));
  }, pair.map((job) => job.id + job.state));
  if (problem) return html`<p class="problem" role="alert">${problem}</p>`;
  if (!found) return html`<p role="status">Reading both …</p>`;
  const head = html`<thead><tr><th></th>${pair.map((job, n) => html`<th key=${n} scope="col">${job.name}</th>`)}</tr></thead>`;
  const table = (title, rows, none) => html`
    <h2>${title}</h2>
    ${rows.length ? html`<table>${head}<tbody>${rows.map(([name, ...values]) => html`
      <tr key=${name}><th scope="row">${name}</th>${values.map((value, n) => html`<td key=${n}>${value}</td>`)}</tr>`)}</tbody></table>`
      : html`<p class="hint">${none}</p>`}`;
  return html`
    ${table("Scores", scoreRows(found), "Neither has been judged yet.")}
    ${table("Settings that differ", differing(found), "All settings are the same.")}
  `;
}

function differing([one, other]) {
  const names = [...new Set([...Object.keys(one.settings), ...Object.keys(other.settings)])];
  const texts = names.map((name) => [name, text(one.settings[name]), text(other.settings[name])]);
  return texts.filter(([, a, b]) => a !== b);
}

function scoreRows(found) {
  const choices = found.map((one) => one.choice);
  if (choices.every((choice) => !choice)) return [];
  const results = [...new Set(choices.flatMap((choice) => Object.keys(choice?.scores ?? {})))];
  return [
    ["recommended", ...choices.map((choice) => choice?.recommended ?? "–")],
    ["stroke pixels to learn from", ...choices.map((choice) => choice?.used_pixels ?? "–")],
    ...results.flatMap((result) => SCORES.map(([key, title]) => [
      `${result}: ${title}`,
      ...choices.map((choice) => number(choice?.scores?.[result]?.[key])),
    ])),
  ];
}

const number = (value) => (typeof value === "number" ? value.toFixed(3) : "–");
const text = (value) => (value === undefined ? "–" : typeof value === "string" ? value : JSON.stringify(value));
