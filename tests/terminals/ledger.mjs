// What a program changes in a terminal and xterm.js does not keep, written down from the sequences as they pass: private
// modes, key encodings, colours, titles, the progress mark. Enough of xterm and kitty to tell two streams apart.

/** Private modes that are set normally. */
const NORMALLY_SET = new Set([7, 25]);
/** Modes whose normal value is the user's own choice: what is not set by the program may be anything. */
const USERS_OWN = new Set([1007, 1042, 8452, 80]);
/** Modes that say which screen is shown or move the cursor: seen elsewhere. 2026 ends by itself. 3 and 40 change the size. */
const ELSEWHERE = new Set([3, 40, 47, 1047, 1048, 1049, 1000, 1002, 1003, 9, 1005, 1006, 1015, 1016]);

const flat = (params) => params.map((param) => (Array.isArray(param) ? param[0] : param));
const rgb = (text) => {
  const parts = /^rgb:([0-9a-f]+)\/([0-9a-f]+)\/([0-9a-f]+)$/i.exec(text);
  if (parts) return parts.slice(1).map((part) => Math.round((parseInt(part, 16) * 255) / (16 ** part.length - 1))).join(",");
  const hash = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i.exec(text);
  return hash ? hash.slice(1).map((part) => parseInt(part, 16)).join(",") : text;
};

export class Ledger {
  constructor(terminal) {
    this.terminal = terminal;
    this.anything = new Set();
    // Whether lines went out of the screen and were then thrown away.
    this.hasScrolled = false;
    this.reset();
    const { parser } = terminal;
    const csi = (id, handler) => parser.registerCsiHandler(id, (params) => (handler(params), false));
    csi({ prefix: "?", final: "h" }, (params) => flat(params).forEach((mode) => this.mode(mode, true)));
    csi({ prefix: "?", final: "l" }, (params) => flat(params).forEach((mode) => this.mode(mode, false)));
    csi({ prefix: "?", final: "s" }, (params) => flat(params).forEach((mode) => this.kept.set(mode, this.modes.get(mode))));
    csi({ prefix: "?", final: "r" }, (params) => flat(params).forEach((mode) => this.kept.has(mode) && this.mode(mode, this.kept.get(mode) ?? NORMALLY_SET.has(mode))));
    csi({ final: "J" }, ([what]) => (this.hasScrolled ||= what === 3 && terminal.buffer.normal.baseY > 0));
    csi({ final: "h" }, (params) => flat(params).forEach((mode) => this.ansi.set(mode, true)));
    csi({ final: "l" }, (params) => flat(params).forEach((mode) => this.ansi.delete(mode)));
    // With margins at the sides it sets them, and saves nothing.
    parser.registerCsiHandler({ final: "s" }, (params) => {
      if (!this.modes.get(69)) return false;
      this.sides = flat(params).join(";");
      return true;
    });
    csi({ prefix: ">", final: "u" }, (params) => this.stack().push(params[0] || 0));
    csi({ prefix: "<", final: "u" }, (params) => this.pop(params[0] || 1));
    csi({ prefix: "=", final: "u" }, ([flags, how]) => this.flags(flags || 0, how || 1));
    csi({ prefix: ">", final: "m" }, ([which, value]) => this.resource("keys", which, value));
    csi({ prefix: ">", final: "n" }, ([which]) => this.resource("keys", which, -1));
    csi({ prefix: ">", final: "f" }, ([which, value]) => this.resource("key format", which, value));
    csi({ prefix: ">", final: "p" }, ([value]) => this.put("pointer mode", value, 1));
    csi({ prefix: "?", final: "W" }, ([what]) => {
      const buffer = terminal._core.buffer;
      if (what === 5) {
        buffer.tabs = {};
        buffer.setupTabStops();
      }
    });
    csi({ intermediates: " ", final: "q" }, ([style]) => this.put("cursor style", style, 0));
    csi({ intermediates: "*", final: "x" }, ([extent]) => this.put("attribute change extent", extent === 1 ? 0 : extent, 0));
    csi({ final: "t" }, ([what, which]) => {
      if (what === 22 && this.titles.length < 10) this.titles.push(this.values.get("title") ?? "");
      if (what === 23 && this.titles.length) this.put("title", this.titles.pop(), "");
    });
    csi({ intermediates: "!", final: "p" }, () => this.soft());
    // The sets of 96 characters, of which it takes Latin-1 for the British one.
    ["-", ".", "/"].forEach((intermediates, at) =>
      parser.registerEscHandler({ intermediates, final: "A" }, () => {
        terminal._core._charsetService.setgCharset(at + 1, undefined);
        return true;
      }));
    parser.registerEscHandler({ final: "c" }, () => (this.reset(), false));
    const osc = (id, handler) => parser.registerOscHandler(id, (data) => (handler(data), false));
    osc(0, (title) => this.put("title", title, ""));
    osc(2, (title) => this.put("title", title, ""));
    osc(7, (directory) => this.put("directory", directory, ""));
    osc(22, (shape) => this.put("pointer shape", shape, ""));
    osc(9, (data) => {
      const progress = /^4;(\d)(;\d*)?$/.exec(data);
      if (progress) this.put("progress", progress[1] === "0" ? "" : data, "");
    });
    osc(4, (data) => {
      const parts = data.split(";");
      for (let at = 0; at + 1 < parts.length; at += 2) {
        if (parts[at + 1] !== "?") this.values.set(`colour ${parts[at]}`, rgb(parts[at + 1]));
      }
    });
    osc(104, (data) => {
      for (const name of [...this.values.keys()]) {
        if (/^colour \d+$/.test(name) && (data === "" || data.split(";").includes(name.slice(7)))) this.values.delete(name);
      }
    });
    for (let which = 10; which <= 19; which++) {
      osc(which, (data) => data.split(";").forEach((text, next) => {
        if (text !== "?" && text !== "") this.values.set(`colour of ${which + next}`, rgb(text));
      }));
      osc(which + 100, () => this.values.delete(`colour of ${which}`));
    }
  }

  /** As RIS does. */
  reset() {
    // Keys repeat: what a program sets again is no change.
    this.modes = new Map([[8, true]]);
    this.ansi = new Map();
    this.kept = new Map();
    this.values = new Map();
    this.titles = [];
    this.kitty = { normal: [], alternate: [] };
    this.isAlternate = false;
    this.mouse = [0, 0];
    this.sides = "";
  }

  /** As DECSTR does. */
  soft() {
    for (const mode of [1, 6, 66, 69]) this.modes.delete(mode);
    this.modes.delete(7);
    this.modes.delete(25);
    this.ansi.delete(4);
    this.sides = "";
    // xterm resets these as well, so a redraw with DECSTR in it would cost the user's own palette.
    for (const name of [...this.values.keys()]) if (name.startsWith("colour")) this.values.delete(name);
  }

  mode(mode, set) {
    if ([47, 1047, 1049].includes(mode)) this.isAlternate = set;
    if (mode === 69 && !set) this.sides = "";
    if ([9, 1000, 1002, 1003].includes(mode)) this.mouse[0] = set ? mode : 0;
    else if ([1005, 1006, 1015, 1016].includes(mode)) this.mouse[1] = set ? mode : 0;
    else if (!ELSEWHERE.has(mode)) this.modes.set(mode, set);
    // Whether the characters of a cluster share its cells is what this mode says.
    if (mode === 2027) this.terminal.unicode.activeVersion = set ? "15-graphemes" : "11";
  }

  put(name, value, normal) {
    if ((value ?? normal) === normal) this.values.delete(name);
    else this.values.set(name, value);
  }

  /** What XTMODKEYS and XTFMTKEYS set: one resource, or all of them back to how they were. */
  resource(kind, which, value) {
    if (which === undefined || which === 0 && value === undefined) {
      for (const name of [...this.values.keys()]) if (name.startsWith(`${kind} `)) this.values.delete(name);
    } else this.put(`${kind} ${which}`, value ?? 0, 0);
  }

  stack() {
    return this.kitty[this.isAlternate ? "alternate" : "normal"];
  }

  pop(count) {
    this.stack().splice(Math.max(0, this.stack().length - count));
  }

  flags(flags, how) {
    const stack = this.stack();
    // The flags in force without a push are those at the bottom.
    const current = stack.pop() ?? 0;
    stack.push(how === 1 ? flags : how === 2 ? current | flags : current & ~flags);
  }

  state() {
    const found = new Map(this.values);
    this.anything.clear();
    for (const mode of USERS_OWN) if (!this.modes.has(mode)) this.anything.add(`private mode ${mode}`);
    for (const [mode, set] of this.modes) {
      if (USERS_OWN.has(mode) || set !== NORMALLY_SET.has(mode)) found.set(`private mode ${mode}`, set);
    }
    for (const mode of this.ansi.keys()) found.set(`ansi mode ${mode}`, true);
    found.set("mouse modes", this.mouse.join(" "));
    found.set("margins at the sides", this.sides);
    for (const [screen, stack] of Object.entries(this.kitty)) found.set(`kitty keyboard, ${screen}`, stack.join(" ").replace(/^(0 ?)+/, ""));
    return found;
  }
}
