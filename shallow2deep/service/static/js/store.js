/** State that several parts of the page look at. */

import { useEffect, useReducer } from "../vendor/preact-htm.module.js";

/** Tells those who listen whenever it has changed. */
export class Store {
  #listeners = new Set();

  /** @param {() => void} listener @returns {() => void} ends it */
  subscribe(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  changed() {
    for (const listener of this.#listeners) listener();
  }

  /** @param {Partial<this>} values */
  set(values) {
    Object.assign(this, values);
    this.changed();
  }
}

/** Draws the component anew when a store has changed. @template {Store} T @param {T} store @returns {T} */
export function useStore(store) {
  const [, redraw] = useReducer((n) => n + 1, 0);
  useEffect(() => store.subscribe(redraw), [store]);
  return store;
}
