// The owner's page: every session with a live picture of its screen; to start one, open one, end
// one.

import { ago, counted, title, words } from "./format.js";
import { Painter } from "./thumbnail.js";
import { terminalTheme } from "./themes.js";

/** As many pictures as the gateway sends. */
const MOST_WATCHED = 256;

export class Sessions {
  #list = document.getElementById("cards");
  #none = document.getElementById("none");
  #form = document.getElementById("new");
  #kill = document.getElementById("kill");
  #cards = new Map();
  #visible = new Set();
  #settings;
  #painter;
  #handlers;
  #mayWrite = false;
  #observer;

  /** `handlers`: `open(id)`, `create(name, command)`, `kill(id)`, `watch(ids)`, `say(text)`. */
  constructor(settings, handlers) {
    this.#settings = settings;
    this.#handlers = handlers;
    this.#painter = new Painter(terminalTheme(settings.theme));
    this.#observer = new IntersectionObserver((entries) => this.#seen(entries));
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#create();
    });
  }

  /** What the link allows. */
  set mayWrite(mayWrite) {
    this.#mayWrite = mayWrite;
    this.#form.hidden = !mayWrite;
    this.#cards.forEach((card) => (card.end.hidden = !mayWrite));
  }

  refresh() {
    this.#painter.theme = terminalTheme(this.#settings.theme);
    this.#cards.forEach((card) => card.picture && this.#painter.paint(card.canvas, card.picture));
  }

  /** The sessions that there are, in this order. */
  show(sessions) {
    const ids = new Set(sessions.map(({ id }) => id));
    for (const [id, card] of this.#cards) {
      if (ids.has(id)) continue;
      this.#observer.unobserve(card.item);
      this.#visible.delete(id);
      card.item.remove();
      this.#cards.delete(id);
    }
    for (const session of sessions) {
      if (!this.#cards.has(session.id)) this.#cards.set(session.id, this.#card(session.id));
      this.#describe(this.#cards.get(session.id), session);
    }
    // Whatever has the focus stays where it is, as long as the order is the same.
    sessions.forEach(({ id }, at) => {
      const { item } = this.#cards.get(id);
      if (this.#list.children[at] !== item) this.#list.insertBefore(item, this.#list.children[at] ?? null);
    });
    this.#none.hidden = sessions.length > 0;
  }

  /** What a session shows. */
  picture(message) {
    const card = this.#cards.get(message.session);
    if (!card) return;
    card.picture = message;
    this.#painter.paint(card.canvas, message);
  }

  #card(id) {
    const element = (name, parent, className) => {
      const made = document.createElement(name);
      if (className) made.className = className;
      parent?.append(made);
      return made;
    };
    const item = element("li");
    item.dataset.session = id;
    const open = element("button", item, "open");
    const frame = element("span", open, "picture");
    const canvas = element("canvas", frame);
    canvas.setAttribute("aria-hidden", "true");
    const line = element("span", open, "line");
    const dot = element("span", line, "dot");
    const name = element("b", line);
    const heading = element("span", line, "heading");
    const facts = element("span", open, "facts");
    const end = element("button", item, "end quiet");
    end.textContent = "End…";
    open.addEventListener("click", () => this.#handlers.open(id));
    end.addEventListener("click", () => this.#ask(id, name.textContent));
    this.#observer.observe(item);
    return { item, open, canvas, dot, name, heading, facts, end, picture: null };
  }

  #describe(card, session) {
    const isRunning = session.state === "running";
    const name = title(session.name);
    card.name.textContent = name;
    card.heading.textContent = title(session.title || session.command || "");
    const facts = [
      isRunning
        ? session.idle_seconds < 10
          ? "active"
          : `idle ${ago(session.idle_seconds)}`
        : title(session.state),
    ];
    if (session.clients > 0) facts.push(counted(session.clients, "client"));
    if (session.columns) facts.push(`${session.columns}×${session.rows}`);
    if (session.unseen > 0) facts.push("new output");
    if (session.bell) facts.push("bell");
    card.facts.textContent = facts.join(" · ");
    card.dot.dataset.state = isRunning ? "live" : "over";
    card.item.classList.toggle("is-over", !isRunning);
    card.end.setAttribute("aria-label", `End ${name}`);
    card.end.hidden = !this.#mayWrite || !isRunning;
  }

  #ask(id, name) {
    this.#kill.querySelector("b").textContent = name;
    this.#kill.returnValue = "";
    this.#kill.onclose = () => this.#kill.returnValue === "end" && this.#handlers.kill(id);
    this.#kill.showModal();
  }

  #create() {
    const { name, command } = this.#form.elements;
    const parts = words(command.value);
    if (!parts) return this.#handlers.say("The command has a quote that is not closed.");
    if (this.#handlers.create(name.value.trim(), parts)) this.#form.reset();
    else this.#handlers.say("Not connected. Try again in a moment.");
  }

  #seen(entries) {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) this.#visible.add(target.dataset.session);
      else this.#visible.delete(target.dataset.session);
    }
    this.#handlers.watch([...this.#visible].slice(0, MOST_WATCHED));
  }
}
