// The link's token: taken out of the address as soon as the page has it, and kept for this tab
// alone.
//
// It is in the fragment, which no browser sends anywhere. The other fragment is of the owner's
// page: `#/ID` is the session that is shown.

import { hex, randomBytes } from "./protocol.js";

const TOKEN = /^#?([A-Za-z0-9_-]{22})$/;
const SESSION = /^#\/([0-9a-f-]{36})$/;

/**
 * The token and the viewer's id of this tab. Storage may be refused; then both last until the page
 * is closed.
 */
export class Link {
  #storage;
  #prefix;
  #kept = new Map();

  constructor(storage, path) {
    this.#storage = storage;
    // Two gateways may have one origin.
    this.#prefix = `fugue:${path}:`;
  }

  /** The token that was kept. */
  get token() {
    return this.#read("token");
  }

  /** Who views: the same until the tab is closed, so that a link for one viewer can be reloaded. */
  get viewer() {
    const known = this.#read("viewer");
    if (known && /^[0-9a-f]{32}$/.test(known)) return known;
    const drawn = hex(randomBytes(16));
    this.#write("viewer", drawn);
    return drawn;
  }

  /**
   * Takes a token out of a fragment. Returns whether there was one; the address is then to be
   * replaced.
   */
  take(fragment) {
    const found = TOKEN.exec(fragment);
    if (!found) return false;
    this.#write("token", found[1]);
    return true;
  }

  #read(name) {
    try {
      return this.#kept.get(name) ?? this.#storage?.getItem(this.#prefix + name) ?? null;
    } catch {
      return null;
    }
  }

  #write(name, value) {
    this.#kept.set(name, value);
    try {
      this.#storage?.setItem(this.#prefix + name, value);
    } catch {
      // It lasts as long as the page.
    }
  }
}

/** The session that a fragment names; null if none. */
export function sessionOf(fragment) {
  return SESSION.exec(fragment)?.[1] ?? null;
}
