/** The tab of runs: a list, what one of them does, and two of them side by side. */

import { html, useEffect, useState } from "../vendor/preact-htm.module.js";
import { getJson } from "./api.js";
import { Comparison } from "./compare.js";
import { RunView } from "./run.js";
import { StartDialog } from "./start.js";

const LOOK = 2000; // ms between two looks at the list

/** @param {{project?: import("./project.js").Project}} props */
export function RunsTab({ project }) {
  const [jobs, setJobs] = useState([]);
  const [chosen, choose] = useState("");
  const [compared, compare] = useState([]);
  const [isStarting, start] = useState(false);
  const [problem, setProblem] = useState("");

  const look = () => getJson("jobs").then(
    (found) => {
      setJobs(found.reverse());
      setProblem("");
    },
    (error) => setProblem(error.message),
  );
  useEffect(() => {
    look();
    const timer = setInterval(look, LOOK);
    return () => clearInterval(timer);
  }, []);
  const toggle = (id) => compare(compared.includes(id) ? compared.filter((one) => one !== id) : [...compared, id].slice(-2));
  const job = jobs.find((one) => one.id === chosen) ?? jobs[0];
  const pair = compared.map((id) => jobs.find((one) => one.id === id)).filter(Boolean);
  return html`
    <main class="runs">
      <aside class="side" aria-label="List of runs">
        ${project && html`<button class="wide main" onClick=${() => start(true)}>New run on what is painted …</button>`}
        ${problem && html`<p class="problem" role="alert">${problem}</p>`}
        <ul class="jobs">
          ${jobs.map((one) => html`
            <li key=${one.id} class=${one === job && pair.length < 2 ? "chosen" : ""}>
              <button onClick=${() => { compare([]); choose(one.id); }}>
                <span class="file">${one.name}</span>
                <span class="facts">${when(one.created)} · <b class=${`state ${one.state}`}>${one.state}</b></span>
              </button>
              <label title="Tick two runs to compare them"><input type="checkbox" checked=${compared.includes(one.id)}
                onChange=${() => toggle(one.id)} aria-label=${`Compare ${one.name}`} /></label>
            </li>`)}
        </ul>
        ${!jobs.length && html`<p class="hint">No runs yet. Paint a few strokes of each class, then start one.</p>`}
        ${jobs.length > 1 && html`<p class="hint">Tick two to compare them.</p>`}
      </aside>
      <section class="run" aria-label="Run">
        ${pair.length === 2
          ? html`<${Comparison} pair=${pair} />`
          : job && html`<${RunView} key=${job.id} job=${job} look=${look} />`}
      </section>
      ${isStarting && html`<${StartDialog} project=${project} close=${(started) => {
        start(false);
        if (started) choose(started.id);
        look();
      }} />`}
    </main>
  `;
}

const when = (seconds) => new Date(1000 * seconds).toLocaleString([], { dateStyle: "short", timeStyle: "short" });
