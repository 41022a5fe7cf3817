/** Talks with the server: requests with the token, errors as sentences, and events as they come. */

const root = new URL("..", document.baseURI);
const token = keptToken();

/** What the server has refused, in its own words. */
export class Refused extends Error {
  /** @param {string} sentence @param {number} status 0 where no server answered */
  constructor(sentence, status) {
    super(sentence);
    this.status = status;
  }
}

/** The token from the address, which is then taken out of it; kept for reloads of this window. */
function keptToken() {
  const stated = new URLSearchParams(location.hash.slice(1)).get("token");
  if (stated) {
    sessionStorage.setItem("token", stated);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem("token");
}

/** Whether plain links work, which cannot show a token. */
export const isOpen = token === null;

/** @param {string} path @returns {string} its address */
export const address = (path) => new URL(path, root).href;

/**
 * @param {string} path
 * @param {RequestInit & {json?: unknown}} [options] json: to be sent as the body
 * @returns {Promise<Response>}
 */
export async function request(path, { json, ...options } = {}) {
  const headers = new Headers(options.headers);
  if (token) headers.set("authorization", `Bearer ${token}`);
  if (json !== undefined) headers.set("content-type", "application/json");
  let response;
  try {
    const body = json === undefined ? options.body : JSON.stringify(json);
    response = await fetch(address(path), { ...options, headers, body });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("the server does not answer", 0);
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  throw new Refused(problem.error ?? `the server answered ${response.status}`, response.status);
}

/** @param {string} path @param {RequestInit & {json?: unknown}} [options] */
export const getJson = async (path, options) => (await request(path, options)).json();

/** @param {string} path @param {unknown} json @param {string} [method] */
export const send = (path, json, method = "POST") => getJson(path, { method, json });

/**
 * Server-sent events; by fetch, as EventSource cannot show a token.
 * @param {string} path
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<{kind: string, data: any}>}
 */
export async function* events(path, signal) {
  const response = await request(path, { signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s)));
      if (fields.data) yield { kind: fields.event ?? "message", data: JSON.parse(fields.data) };
    }
  }
}

/** Saves what is at a path as a file. @param {string} path @param {string} name */
export async function download(path, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await (await request(path)).blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
