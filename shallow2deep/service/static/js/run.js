/** One run: where it stands, its curves, pictures and log, and what can be done with it. */

import { html, useEffect, useState } from "../vendor/preact-htm.module.js";
import { address, download, events, getJson, isOpen, request } from "./api.js";
import { Curves } from "./curves.js";

const MOST_POINTS = 5000;
const LOG_LINES = 200;

/** @param {{job: object, look: () => Promise<void>}} props */
export function RunView({ job, look }) {
  const told = useEvents(job.id, job.state);
  const [problem, setProblem] = useState("");
  const act = async (method, action) => {
    try {
      await request(`jobs/${job.id}${action}`, { method });
      setProblem("");
    } catch (error) {
      setProblem(error.message);
    }
    await look();
  };
  const post = (action) => act("POST", `/${action}?wait_s=20`);
  const clean = () => confirm(`Remove "${job.name}" with all that it has made?`) && act("DELETE", "");
  const ended = ["finished", "aborted", "failed"].includes(job.state);
  const isAtWork = ["running", "queued", "starting"].includes(job.state);
  return html`
    <header class="about">
      <h2>${job.name}</h2>
      <p role="status"><b class=${`state ${job.state}`}>${job.state}</b>${job.asked ? ` (${job.asked} is asked for)` : ""} ${job.why}</p>
      <div class="pair">
        <button disabled=${!isAtWork} onClick=${() => post("pause")}>Pause</button>
        <button disabled=${!["paused", "aborted", "failed"].includes(job.state)} onClick=${() => post("resume")}>Resume</button>
        <button disabled=${ended} onClick=${() => post("abort")}>Abort</button>
        <button disabled=${isAtWork} onClick=${clean}>Remove …</button>
      </div>
      ${problem && html`<p class="problem" role="alert">${problem}</p>`}
    </header>
    <${Progress} event=${told.progress} isRunning=${job.state === "running"} />
    <${Results} job=${job} />
    <${Curves} series=${told.series} />
    <${Pictures} id=${job.id} news=${`${told.pictures} ${job.state}`} />
    <${Log} id=${job.id} count=${told.count} />
  `;
}

/** What a run tells, from its beginning on and as it comes. */
function useEvents(id, state) {
  const [told, setTold] = useState(nothingTold());
  const isOver = ["finished", "aborted", "failed"].includes(state);
  useEffect(() => {
    const ending = new AbortController();
    let now = nothingTold();
    let asked = false;
    const show = () => {
      if (asked) return;
      asked = true;
      setTimeout(() => {
        asked = false;
        if (!ending.signal.aborted) setTold(now);
      }, 200);
    };
    (async () => {
      try {
        for await (const { kind, data } of events(`jobs/${id}/events`, ending.signal)) {
          if (kind === "message") now = withEvent(now, data);
          show();
        }
      } catch {
        // the server is away; the list says so
      }
    })();
    return () => ending.abort();
  }, [id, isOver]);
  return told;
}

const nothingTold = () => ({ progress: null, series: new Map(), pictures: 0, count: 0 });

function withEvent(told, event) {
  const next = { ...told, count: told.count + 1 };
  if (event.kind === "picture") next.pictures++;
  if (event.kind === "done" || event.kind === "finished") next.progress = null;
  if (event.kind !== "progress") return next;
  next.progress = event;
  for (const name of ["loss", "best"]) {
    if (typeof event[name] !== "number") continue;
    const key = `${event.stage}: ${name === "best" ? "best score" : name}`;
    const points = [...(told.series.get(key) ?? []), [event.done, event[name]]].slice(-MOST_POINTS);
    next.series = new Map(next.series).set(key, points);
  }
  return next;
}

function Progress({ event, isRunning }) {
  if (!event || !isRunning) return null;
  const left = event.left_s === undefined ? "" : `, ${duration(event.left_s)} left`;
  return html`
    <div class="progress">
      <progress max=${event.total} value=${event.done} aria-label=${event.what}></progress>
      <span>${event.stage}: ${event.what} ${event.done} of ${event.total}${left}</span>
    </div>
  `;
}

const duration = (s) => (s < 90 ? `${Math.round(s)} s` : s < 5400 ? `${Math.round(s / 60)} min` : `${(s / 3600).toFixed(1)} h`);

/** The report, and what can be taken away. */
function Results({ job }) {
  const [files, setFiles] = useState([]);
  const [problem, setProblem] = useState("");
  useEffect(() => {
    getJson(`jobs/${job.id}/files`).then(setFiles, () => setFiles([]));
  }, [job.id, job.state]);
  const has = (start) => files.some((file) => file.name.startsWith(start));
  const tell = (work) => work.catch((error) => setProblem(error.message));
  const zip = (folder) => tell(download(`jobs/${job.id}/archive/${folder}`, `${job.name}-${folder}.zip`));
  const pack = async () => {
    const name = `${job.id}-${Date.now()}`;
    await request(`jobs/${job.id}/export`, { method: "POST", json: { name } });
    await download(`models/${name}.zip`, `${job.name}.zip`);
  };
  const report = has("report.html");
  return html`
    <div class="results">
      ${report && (isOpen
        ? html`<a class="button" href=${address(`jobs/${job.id}/files/report.html`)} target="_blank" rel="noopener">Open the report</a>`
        : html`<button onClick=${() => tell(download(`jobs/${job.id}/files/report.html`, "report.html"))}>Save the report</button>`)}
      ${has("prediction/") && html`<button onClick=${() => zip("prediction")}>Download maps</button>`}
      ${has("objects/") && html`<button onClick=${() => zip("objects")}>Download objects</button>`}
      ${job.state === "finished" && has("segmentor") && html`<button onClick=${() => tell(pack())}>Export as package</button>`}
      ${problem && html`<p class="problem" role="alert">${problem}</p>`}
      ${files.length > 0 && html`
        <details><summary>${files.length} files</summary>
          <ul class="files">${files.map(({ name, size }) => html`
            <li key=${name}><button class="link" onClick=${() => tell(download(`jobs/${job.id}/files/${name}`, name.split("/").pop()))}>${name}</button> ${bytes(size)}</li>`)}
          </ul>
        </details>`}
    </div>
  `;
}

const bytes = (n) => (n < 1e4 ? `${n} B` : n < 1e7 ? `${Math.round(n / 1e3)} kB` : `${Math.round(n / 1e6)} MB`);

/** The newest picture of each kind, and in the end that of all results. */
function Pictures({ id, news }) {
  const [shown, setShown] = useState([]);
  useEffect(() => {
    let isOver = false;
    (async () => {
      const [told, files] = await Promise.all([getJson(`jobs/${id}/pictures`), getJson(`jobs/${id}/files`)]);
      const results = files.filter(({ name }) => name === "panels.png").map(({ name }) => ["results", name]);
      const names = [...results, ...Object.entries(told)];
      const load = async ([what, name]) => {
        const blob = await (await request(`jobs/${id}/files/${name}`)).blob();
        return { what, source: URL.createObjectURL(blob) };
      };
      const found = await Promise.all(names.map(load));
      if (!isOver) setShown(found);
    })().catch(() => setShown([]));
    return () => {
      isOver = true;
    };
  }, [id, news]);
  useEffect(() => () => shown.forEach(({ source }) => URL.revokeObjectURL(source)), [shown]);
  return html`${shown.map(({ what, source }) => html`
    <figure key=${what}><img src=${source} alt=${what} /><figcaption>${what}</figcaption></figure>`)}`;
}

function Log({ id, count }) {
  const [text, setText] = useState("");
  useEffect(() => {
    request(`jobs/${id}/log`).then(async (response) => setText(await response.text()), () => setText(""));
  }, [id, count]);
  const lines = text.trimEnd().split("\n").slice(-LOG_LINES).join("\n");
  return html`<details><summary>Log</summary><pre class="log" tabindex="0">${lines}</pre></details>`;
}
