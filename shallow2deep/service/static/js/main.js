/** The page: its parts put together. */

import { html, render, useEffect, useState } from "../vendor/preact-htm.module.js";
import { Help } from "./keys.js";
import { Live } from "./live.js";
import { PaintTab } from "./paint.js";
import { Project } from "./project.js";
import { RunsTab } from "./runs.js";
import { Store } from "./store.js";
import { Strokes } from "./strokes.js";
import { Tools } from "./viewer.js";

/** All that the parts of the painting tab share. */
export class Desk extends Store {
  /** @type {import("./viewer.js").Viewer | null} */
  viewer = null;

  constructor(project) {
    super();
    this.project = project;
    this.tools = new Tools();
    this.live = new Live(project, () => this.viewer.seen());
    this.strokes = new Strokes(project, () => this.live.now());
  }
}

function App() {
  const [desk, setDesk] = useState(null);
  const [tab, show] = useState("");
  const [problem, setProblem] = useState("");
  const [isHelpOpen, openHelp] = useState(false);
  useEffect(() => {
    const project = new Project();
    project.load().then(
      (exists) => {
        if (exists) setDesk(new Desk(project));
        show((chosen) => chosen || (exists ? "paint" : "runs"));
      },
      (error) => setProblem(error.message),
    );
  }, []);
  const tabs = [...(desk ? [["paint", "Paint"]] : []), ["runs", "Runs"]];
  return html`
    <header>
      <h1>shallow2deep</h1>
      <nav aria-label="Parts of the page">
        ${tabs.map(([name, title]) => html`
          <button key=${name} aria-current=${tab === name ? "page" : undefined} onClick=${() => show(name)}>${title}</button>`)}
      </nav>
      <span class="folder">${desk?.project.folder}</span>
      <button aria-label="Keys and help" onClick=${() => openHelp(true)}>?</button>
    </header>
    ${problem && html`<p class="problem large" role="alert">${problem}</p>`}
    ${desk && html`<${PaintTab} desk=${desk} hidden=${tab !== "paint"} help=${() => openHelp(true)} />`}
    ${tab === "runs" && html`<${RunsTab} project=${desk?.project} />`}
    <${Help} isOpen=${isHelpOpen} close=${() => openHelp(false)} />
  `;
}

render(html`<${App} />`, document.body);
