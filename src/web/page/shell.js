// What is around the terminal: title, who watches, lag, the bars, and what takes the page's place
// when there is none.

import { bytes, counted, title } from "./format.js";

const byId = (id) => document.getElementById(id);

/** Lag below this is ordinary, and not shown. */
const NOTABLE_LAG = 64 * 1024;

/** A bar about the line is shown after so long: most lines are back sooner. */
const PATIENCE = 400;

const HINT_FOR = 2500;
const LAG_FOR = 3000;

const WORDS = {
  live: "Connected",
  connecting: "Connecting…",
  waiting: "Reconnecting…",
  paused: "Paused while the page is hidden",
  over: "Ended",
};

export class Shell {
  #state = "connecting";
  #name = "";
  #title = "";
  #waiting = null;
  #hint = null;
  #lagging = null;
  #hasBeenLive = false;
  #unanswered = 0;

  /** `handlers`: `retry()`, `back()`. */
  constructor(handlers) {
    byId("line").querySelector(".act").onclick = handlers.retry;
    byId("message").querySelector("button").onclick = handlers.retry;
    byId("end").querySelector(".act").onclick = handlers.back;
    byId("back").onclick = handlers.back;
    for (const id of ["gap", "notice"]) byId(id).querySelector(".act").onclick = () => this.#bar(id, null);
  }

  /** What the page shows: "wait", "session", "index" or "message". */
  set view(view) {
    document.body.dataset.view = view;
    byId("message").hidden = view !== "message";
    if (view === "session") return;
    for (const id of ["lag", "viewers"]) byId(id).hidden = true;
    for (const id of ["gap", "end", "notice"]) this.#bar(id, null);
    this.name("fugue-server", "");
  }

  get view() {
    return document.body.dataset.view;
  }

  /** The line to the gateway. */
  set state(state) {
    this.#state = state;
    this.#hasBeenLive ||= state === "live";
    byId("dot").dataset.state = state;
    byId("dot").title = WORDS[state];
    document.body.dataset.state = state;
    clearTimeout(this.#waiting);
    if (state === "connecting" || state === "waiting") {
      this.#waiting = setTimeout(() => this.#line(), byId("line").hidden ? PATIENCE : 0);
    } else {
      this.#line();
    }
  }

  /** Bytes typed that are not answered: without a line a person wants to know. */
  set unanswered(count) {
    this.#unanswered = count;
    if (!byId("line").hidden) this.#line();
  }

  #line() {
    const isLost = this.#state === "connecting" || this.#state === "waiting";
    if (!isLost) return this.#bar("line", null);
    const what = this.#hasBeenLive ? "Reconnecting… It goes on where it left off." : "Connecting…";
    const kept =
      this.#unanswered > 0 ? ` ${counted(this.#unanswered, "byte")} that you typed will be sent then.` : "";
    this.#bar("line", what + kept);
  }

  /** The session's name, and the title that its program set. Both are text. */
  name(name, heading = this.#title) {
    this.#name = title(name);
    this.#title = title(heading ?? "");
    byId("name").textContent = this.#name;
    byId("title").textContent = this.#title === this.#name ? "" : this.#title;
    document.title =
      this.#title && this.#title !== this.#name ? `${this.#title} — ${this.#name}` : this.#name;
  }

  set title(text) {
    this.name(this.#name, text);
  }

  set viewers(count) {
    this.#chip("viewers", count > 0 ? counted(count, "viewer") : null);
  }

  /** Told about once a second while there is some. */
  set lag(count) {
    clearTimeout(this.#lagging);
    this.#lagging = setTimeout(() => this.#chip("lag", null), LAG_FOR);
    this.#chip("lag", count >= NOTABLE_LAG ? `${bytes(count)} behind` : null);
  }

  gap(count) {
    this.#bar("gap", `${bytes(count)} of output was missed. The screen below is current.`);
  }

  notice(text) {
    this.#bar("notice", title(text, 500));
  }

  /** The session ended, and how. */
  ended({ status, text }, hasOthers) {
    this.state = "over";
    this.#chip("lag", null);
    this.viewers = 0;
    this.#bar("end", text ? `The session has ended: ${title(text)}.` : "The session has ended.");
    byId("end").querySelector(".act").hidden = !hasOthers;
    byId("end").classList.toggle("is-bad", status !== null && status?.code !== 0);
  }

  /** There is nothing to show, and why. */
  message(heading, text, canRetry) {
    const message = byId("message");
    message.querySelector("h2").textContent = heading;
    message.querySelector("p").textContent = text;
    message.querySelector("button").hidden = !canRetry;
    this.view = "message";
    this.state = "over";
  }

  /** Says something for a moment. */
  hint(text) {
    clearTimeout(this.#hint);
    byId("hint").textContent = text;
    byId("hint").hidden = false;
    this.#hint = setTimeout(() => (byId("hint").hidden = true), HINT_FOR);
  }

  /** Where the link under the pointer leads; null: there is none. */
  target(target) {
    byId("target").textContent = target ? title(target, 300) : "";
    byId("target").hidden = !target;
  }

  bell() {
    byId("dot").classList.remove("rings");
    void byId("dot").offsetWidth; // so that the animation begins again
    byId("dot").classList.add("rings");
  }

  /** Asks before a link of the program is followed, and shows all of it. */
  follow(target) {
    const dialog = byId("follow");
    const link = dialog.querySelector("a");
    const isWeb = /^https?:\/\//i.test(target);
    dialog.querySelector("output").textContent = title(target, 4000);
    link.hidden = !isWeb;
    link.href = isWeb ? target : "about:blank";
    link.onclick = () => dialog.close();
    dialog.querySelector("h2").textContent = isWeb ? "Open this link?" : "This link is not for a browser";
    dialog.showModal();
  }

  #chip(id, text) {
    byId(id).textContent = text ?? "";
    byId(id).hidden = text === null;
  }

  #bar(id, text) {
    byId(id).querySelector(".text").textContent = text ?? "";
    byId(id).hidden = text === null;
  }
}
