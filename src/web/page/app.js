// The page: it joins the line, the terminal, and what is around them.

import { Connection } from "./connection.js";
import { Link, sessionOf } from "./link.js";
import { Keys, followViewport, isTouch, scrollByTouch } from "./phone.js";
import { CLOSE } from "./protocol.js";
import { Sessions } from "./sessions.js";
import { bind, load, save } from "./settings.js";
import { Shell } from "./shell.js";
import { isDark, onSystemTheme } from "./themes.js";
import { View } from "./view.js";

const byId = (id) => document.getElementById(id);

/** Storage may be refused, even to look at. */
function storage(which) {
  try {
    return window[which];
  } catch {
    return null;
  }
}

const link = new Link(storage("sessionStorage"), location.pathname);
const settings = load(storage("localStorage"));
const shell = new Shell({ retry: () => connection.start(), back: () => show(null) });

/**
 * Takes the token out of the address, so that it is in no history, bookmark or picture of the
 * screen.
 */
function takeToken() {
  const hasToken = link.take(location.hash);
  if (hasToken) history.replaceState(null, "", location.pathname);
  return hasToken;
}
takeToken();

const view = new View(byId("frame"), settings, {
  type(bytes, isUser) {
    if (!connection.type(isUser ? keys.typed(bytes) : bytes) && isUser)
      shell.hint("Too much waits to be typed. None of this was sent.");
  },
  locked: () =>
    shell.hint(
      mayWrite ? "Typing is locked. “Unlock” unlocks it." : "This link lets you watch, and not type.",
    ),
  link: (target) => shell.follow(target),
  hover: (target) => shell.target(target),
  title: (text) => (shell.title = text),
  bell: () => shell.bell(),
});
const keys = new Keys(byId("keys"), view);
scrollByTouch(byId("frame"), view);

/** What the link allows, once the gateway has said so. */
let mayWrite = false;
let hasAll = false;
let isFitted = false;

/** Of the gateway that the page is from. */
let version = null;

const connection = new Connection({
  url: () => new URL("../ws", location.href).href.replace(/^http/, "ws"),
  token: () => link.token,
  viewer: () => link.viewer,
  scrollback: () => settings.scrollback,
  session: sessionOf(location.hash),
  sink: view,
  tell: (what, detail) => told[what]?.(detail),
});

const sessions = new Sessions(settings, {
  open: (id) => show(id),
  create: (name, command) => connection.create(name, command),
  kill: (id) => connection.kill(id),
  watch: (ids) => connection.watch(ids),
  say: (text) => shell.notice(text),
});

const told = {
  state({ state, code, text }) {
    if (state !== "over") shell.state = state;
    else if (code === CLOSE.LINK)
      shell.message(
        "This link is not valid",
        "It has expired, was used up or revoked, or never was one. Ask for a new one.",
      );
    else if (code === CLOSE.REVOKED)
      shell.message(
        "This link is no longer valid",
        text || "Whoever shared the session has ended that. Ask for a new link.",
      );
    else shell.message("Disconnected", text || "The server refused.", true);
  },
  welcome({ scope, access, session, version: now }) {
    version ??= now;
    if (version !== now) shell.notice("The server was updated. Reload the page to have its newest form.");
    mayWrite = access === "read-write";
    hasAll = scope === "all";
    sessions.mayWrite = mayWrite;
    byId("back").hidden = !hasAll || !connection.session;
    byId("access").hidden = mayWrite;
    if (session) shell.name(session.name, session.title);
    if (hasAll && !connection.session) shell.view = "index";
    offerTyping();
  },
  attached({ name }) {
    shell.view = "session";
    shell.name(name);
    byId("back").hidden = !hasAll;
    byId("end").hidden = true;
    offerTyping();
    view.layout();
  },
  title: ({ title }) => (shell.title = title),
  lag: ({ bytes }) => (shell.lag = bytes),
  viewers: ({ count }) => (shell.viewers = count),
  notice: ({ text }) => shell.notice(text),
  gap: ({ bytes }) => shell.gap(bytes),
  answered: (count) => (shell.unanswered = count),
  unknown: (count) =>
    shell.notice(
      `The page was away for long: nobody knows whether the last ${count} bytes you typed arrived.`,
    ),
  ended(message) {
    shell.view = "session";
    shell.ended(message, hasAll);
    unlock(false);
    offerTyping();
  },
  error: ({ text }) => shell.notice(text),
  sessions: ({ sessions: all }) => sessions.show(all),
  thumbnail: (message) => sessions.picture(message),
  created: ({ session }) => show(session),
};

/**
 * On the owner's page: shows a session, or all of them; the address follows, so that Back and
 * reload do as well.
 */
function show(session, isFromAddress = false) {
  if (!isFromAddress) history.pushState(null, "", session ? `#/${session}` : location.pathname);
  unlock(false);
  fit(false);
  shell.view = session ? "wait" : "index";
  connection.open(session);
}

/** Whether typing is possible, and its button. */
function offerTyping() {
  const isWatching = shell.view === "session" && document.body.dataset.state !== "over";
  byId("lock").hidden = !mayWrite || !isWatching;
  byId("fit").hidden = !mayWrite || !isWatching;
  if (!mayWrite) unlock(false);
}

function unlock(isUnlocked) {
  view.isUnlocked = isUnlocked;
  // A finger that scrolls must not bring up a keyboard.
  view.inputMode = isUnlocked ? "text" : "none";
  document.body.classList.toggle("is-unlocked", isUnlocked);
  byId("lock").querySelector("span").textContent = isUnlocked ? "Lock" : "Unlock";
  keys.isShown = isUnlocked && isTouch();
  if (isUnlocked) view.focus();
}

function fit(isWanted) {
  if (isWanted === isFitted && !isWanted) return;
  isFitted = isWanted;
  byId("fit").setAttribute("aria-pressed", String(isWanted));
  connection.claim(isWanted ? view.wanted() : null);
}

byId("lock").onclick = () => unlock(!view.isUnlocked);
byId("fit").onclick = () => fit(!isFitted);
byId("gear").onclick = () => byId("settings").showModal();
byId("redraw").onclick = () => {
  connection.redraw();
  byId("settings").close();
};
addEventListener("keydown", (event) => {
  if (!event.ctrlKey || !event.shiftKey || event.code !== "Space" || byId("lock").hidden) return;
  event.preventDefault();
  unlock(!view.isUnlocked);
});

function restyle() {
  document.documentElement.dataset.theme = isDark(settings.theme) ? "dark" : "light";
  view.refresh();
  sessions.refresh();
}
bind(byId("settings"), settings, () => {
  save(storage("localStorage"), settings);
  restyle();
});
onSystemTheme(restyle);
restyle();
followViewport();
unlock(false);

let resizing = null;
addEventListener("resize", () => {
  clearTimeout(resizing);
  resizing = setTimeout(() => isFitted && fit(true), 150);
});

addEventListener("hashchange", () => takeToken() && location.reload());
addEventListener("popstate", () => {
  const session = sessionOf(location.hash);
  if (hasAll && session !== connection.session) show(session, true);
});
document.addEventListener("visibilitychange", () =>
  document.hidden ? connection.hide() : connection.wake(),
);
addEventListener("pagehide", () => connection.pause());
addEventListener("pageshow", ({ persisted }) => persisted && connection.wake());
addEventListener("online", () => connection.wake());
addEventListener("offline", () => connection.doubt());

if (link.token) connection.start();
else
  shell.message("A link is needed", "Open the whole link that you were given, with all that follows the #.");

/** For tests: what is on the screen. */
window.fugue = { view, connection };
