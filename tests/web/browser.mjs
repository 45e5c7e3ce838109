// A browser for the tests, and what is seen in it.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createRequire } from "node:module";

const require = createRequire(new URL("../../src/web/page/", import.meta.url));
const { chromium } = require("playwright-core");
const { Terminal } = require("@xterm/headless");
const { Unicode11Addon } = require("@xterm/addon-unicode11");

const FLAGS = [
  "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run",
  "--disable-background-networking --disable-component-update --disable-sync",
].flatMap((line) => line.split(" "));

/** How long a test waits for what must come. */
export const PATIENCE = 30_000;

/**
 * Chromium, with an empty profile. Pages that it opens note each violation of their policy and each
 * error.
 */
export class Browser {
  problems = [];
  #browser;

  static async start() {
    const browser = new Browser();
    // Playwright gives each launch a profile of its own, and removes it.
    browser.#browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: FLAGS });
    return browser;
  }

  /** A page in a context of its own: nothing is kept from another. `script` runs in it before its own. */
  async open(url, { script, ...options } = {}) {
    const context = await this.#browser.newContext({ viewport: { width: 1100, height: 720 }, ...options });
    const page = await context.newPage();
    await this.#listen(page);
    if (script) await page.addInitScript(script);
    await page.goto(url);
    return page;
  }

  async #listen(page) {
    page.setDefaultTimeout(PATIENCE);
    page.on("pageerror", (error) => this.problems.push(String(error)));
    page.on("console", (message) => {
      // A line that a test cuts is an error of the network, and no other is.
      const isCut = /WebSocket connection|net::ERR_|Failed to load resource/.test(message.text());
      if (["error", "warning"].includes(message.type()) && !isCut) this.problems.push(message.text());
    });
    await page.addInitScript(() => {
      addEventListener("securitypolicyviolation", (event) =>
        console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`),
      );
    });
  }

  /** Closes all pages. */
  async leave() {
    await Promise.all(this.#browser.contexts().map((context) => context.close()));
  }

  async stop() {
    await this.#browser.close();
    assert.deepEqual(this.problems, [], "errors, or violations of the policy");
  }
}

/**
 * The text of a page's terminal, with all that scrolled off it: lines, without blanks at their
 * ends.
 */
export function textOf(page) {
  return page.evaluate(() => {
    const { active } = window.fugue.view.terminal.buffer;
    return Array.from({ length: active.length }, (_, at) => active.getLine(at).translateToString(true));
  });
}

/** What a terminal shows that was given these bytes, or sizes. */
export async function expected(steps, { columns = 80, rows = 24, scrollback = 1000 } = {}) {
  const terminal = new Terminal({ cols: columns, rows, scrollback, allowProposedApi: true });
  terminal.loadAddon(new Unicode11Addon());
  terminal.unicode.activeVersion = "11";
  for (const step of steps) {
    if (Array.isArray(step)) terminal.resize(...step);
    else await new Promise((done) => terminal.write(step, done));
  }
  const { active } = terminal.buffer;
  return Array.from({ length: active.length }, (_, at) => active.getLine(at).translateToString(true));
}

/** Waits until a page shows a text somewhere. */
export function shows(page, text) {
  return page.waitForFunction(
    (text) => {
      const { active } = window.fugue?.view.terminal.buffer ?? {};
      for (let at = 0; at < (active?.length ?? 0); at += 1)
        if (active.getLine(at).translateToString(true).includes(text)) return true;
      return false;
    },
    text,
    { polling: 50 },
  );
}

/** Waits until something holds. */
export async function until(condition, what) {
  const end = Date.now() + PATIENCE;
  while (!(await condition())) {
    assert.ok(Date.now() < end, `${what} within ${PATIENCE} ms`);
    await new Promise((done) => setTimeout(done, 20));
  }
}

/** Pictures for a person to look at, in the directory that FUGUE_SHOTS names. */
export async function picture(page, name) {
  if (process.env.FUGUE_SHOTS) await page.screenshot({ path: `${process.env.FUGUE_SHOTS}/${name}.png` });
}

/** Output like that of a build, with colours, and wider than the screen in places. */
export function flood(lines) {
  return Array.from(
    { length: lines },
    (_, at) =>
      `\x1b[32m${at}\x1b[m ${createHash("sha256")
        .update(`${at}`)
        .digest("hex")
        .repeat(1 + (at % 3))}\r\n`,
  ).join("");
}

export const visible = (page, selector) => page.locator(selector).waitFor({ state: "visible" });
export const hidden = (page, selector) => page.locator(selector).waitFor({ state: "hidden" });
export const unlock = async (page) => {
  await page.click("#lock");
  await page.locator(".is-unlocked").waitFor();
};
