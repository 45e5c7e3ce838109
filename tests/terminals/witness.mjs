// A witness of what a terminal shows: xterm.js without a screen, and a ledger of what it does not know.
//
//   node witness.mjs DIRECTORY      (the one whose node_modules has @xterm/headless)
//
// Each line of stdin is a case: {name, cols, rows, scrollback, modesOnly, expected: steps, actual: steps}. A step is a string, whose
// characters are bytes, or a size [cols, rows]. With modesOnly, what is on the screen and where the cursor is do not count. Each line of stdout is the answer: {name, differences: [text, ...]}.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { resolve } from "node:path";
import { Ledger } from "./ledger.mjs";

const require = createRequire(resolve(process.argv[2]) + "/");
const { Terminal } = require("@xterm/headless");
const { Unicode11Addon } = require("@xterm/addon-unicode11");
const { UnicodeGraphemesAddon } = require("@xterm/addon-unicode-graphemes");

/** Lines above the screen that a terminal keeps. */
const SCROLLBACK = 2000;
/** Differences of a case that are told. */
const TOLD = 12;

/** What knows the widths of characters; reading its tables takes longer than a case does, so it is read once. */
const widths = [];
for (const addon of [new Unicode11Addon(), new UnicodeGraphemesAddon()]) {
  addon.activate({ unicode: { activeVersion: "6", register: (provider) => widths.push(provider) } });
}

function show(cols, rows, steps) {
  const terminal = new Terminal({ windowOptions: { pushTitle: true, popTitle: true }, cols, rows, scrollback: SCROLLBACK, allowProposedApi: true, logLevel: "off" });
  widths.forEach((provider) => terminal.unicode.register(provider));
  terminal.unicode.activeVersion = "11";
  const ledger = new Ledger(terminal);
  for (const step of steps) {
    if (typeof step === "string") terminal._core.writeSync(Buffer.from(step, "latin1"));
    else terminal.resize(...step);
  }
  return { terminal, ledger };
}

function color(cell, which) {
  if (cell[`is${which}Default`]()) return "-";
  return `${cell[`is${which}RGB`]() ? "rgb" : "p"}${cell[`get${which}Color`]()}`;
}

const ATTRIBUTES = ["Bold", "Dim", "Italic", "Underline", "Blink", "Inverse", "Invisible", "Strikethrough", "Overline"];

/** How what is written with these attributes looks. Nobody sees how a space looks, but for its colours and lines. */
function look(core, cell, space) {
  let set = ATTRIBUTES.filter((name) => cell[`is${name}`]() !== 0);
  if (space) set = set.filter((name) => !["Bold", "Dim", "Italic", "Blink", "Invisible"].includes(name));
  const lined = set.some((name) => ["Underline", "Inverse", "Strikethrough", "Overline"].includes(name));
  const parts = [...set];
  if (!space || lined) parts.push(`fg ${color(cell, "Fg")}`);
  parts.push(`bg ${color(cell, "Bg")}`);
  if (cell.isUnderline() !== 0) {
    const own = cell.isUnderlineColorDefault() ? "-" : cell.isUnderlineColorRGB() ? `rgb${cell.getUnderlineColor()}` : `p${cell.getUnderlineColor()}`;
    // A plain underline has style 0 or 1, by how it came to be.
    parts.push(`style ${cell.getUnderlineStyle() || 1} ${own}`);
  }
  if (cell.isProtected?.()) parts.push("protected");
  const url = cell.extended?.urlId;
  if (url) parts.push(`link ${core._oscLinkService.getLinkData(url)?.uri}`);
  return parts.join(" ");
}

function lineOf(core, buffer, y) {
  const line = buffer.lines.get(y);
  const cells = [];
  if (!line) return cells;
  for (let x = 0; x < core.cols; x++) {
    const cell = line.loadCell(x, new core.__Cell());
    const width = cell.getWidth();
    const text = width === 0 ? "<half>" : cell.getChars() || " ";
    cells.push(`${text} ${look(core, cell, text === " " || width === 0)}`);
  }
  return cells;
}

/** The character set as something to compare: what it makes of a few characters. */
const charset = (set) => (set ? JSON.stringify([set["q"] ?? "", set["#"] ?? "", set["["] ?? "", set["~"] ?? ""]) : "ascii");

/** Whether two lines are stored alike; those that are not may still look alike. */
function isStoredAlike(one, other) {
  const special = (line) => Object.keys(line._combined).length > 0 || Object.keys(line._extendedAttrs).length > 0;
  if (!one || !other || special(one) || special(other)) return false;
  return Buffer.compare(Buffer.from(one._data.buffer), Buffer.from(other._data.buffer)) === 0;
}

/** Every cell of the screens that are in use. */
function compareCells(one, other, report) {
  const [core, otherCore] = [one.terminal._core, other.terminal._core];
  for (const shown of [core, otherCore]) shown.__Cell ??= one.terminal.buffer.active.getNullCell().constructor;
  const [ours, theirs] = [core._bufferService.buffers, otherCore._bufferService.buffers];
  const pairs = [["normal", ours.normal, theirs.normal]];
  if (ours.active === ours.alt && theirs.active === theirs.alt) pairs.push(["alternate", ours.alt, theirs.alt]);
  for (const [name, buffer, otherBuffer] of pairs) {
    for (let y = 0; y < core.rows; y++) {
      const [line, otherLine] = [buffer.lines.get(buffer.ybase + y), otherBuffer.lines.get(otherBuffer.ybase + y)];
      if (y > 0) report(`${name} row ${y + 1} goes on from the one above`, Boolean(line?.isWrapped), Boolean(otherLine?.isWrapped));
      if (isStoredAlike(line, otherLine)) continue;
      const [cells, others] = [lineOf(core, buffer, buffer.ybase + y), lineOf(otherCore, otherBuffer, otherBuffer.ybase + y)];
      cells.forEach((cell, x) => report(`${name} row ${y + 1} column ${x + 1}`, cell, others[x]));
    }
  }
}

/** All that is not cells. */
function state({ terminal, ledger }) {
  const core = terminal._core;
  const { buffers } = core._bufferService;
  const found = ledger.state();
  const { active } = buffers;
  found.set("screen", active === buffers.alt ? "alternate" : "normal");
  found.set("cursor", `${active.y + 1};${active.x + 1}`);
  found.set("margins", `${active.scrollTop + 1};${active.scrollBottom + 1}`);
  found.set("tab stops", Object.keys(active.tabs).filter((x) => x < core.cols && active.tabs[x]).join(","));
  const style = look(core, core._inputHandler._curAttrData, false);
  found.set("pen", style);
  // xterm.js keeps the line of a saved cursor among all lines, so that it scrolls away; others keep the row of the screen.
  const isKept = active === buffers.alt || (buffers.normal.ybase === 0 && !ledger.hasScrolled);
  if (!isKept) ledger.anything.add("row of the saved cursor");
  found.set("row of the saved cursor", Math.max(active.savedY - active.ybase, 0) + 1);
  found.set("saved cursor", `${active.savedX + 1} ${look(core, active.savedCurAttrData, false)} ${charset(active.savedCharset)}`);
  const { glevel, _charsets } = core._charsetService;
  // DECRC restores the set in use, and leaves the sets beside it as they are.
  found.set("character set", charset(core._charsetService.charset));
  found.set("character sets not in use", [0, 1, 2, 3].map((g) => (g === glevel ? "" : charset(_charsets[g]))).join(" "));
  for (const [name, value] of Object.entries(core.coreService.decPrivateModes)) found.set(`mode ${name}`, value);
  found.set("mode insert", core.coreService.modes.insertMode);
  found.set("mode newline", terminal.options.convertEol);
  found.set("cursor hidden", core.coreService.isCursorHidden);
  found.set("mouse", `${core.coreMouseService.activeProtocol} ${core.coreMouseService.activeEncoding}`);
  return found;
}

/** Where two terminals differ now. */
function compare(one, other, where, differences, modesOnly) {
  const report = (name, expected, actual) => {
    if (expected !== actual && !one.ledger.anything.has(name) && !(name.startsWith("row of") && other.ledger.anything.has(name))) {
      differences.push(`${where}${name}: ${JSON.stringify(expected)} expected, ${JSON.stringify(actual)} shown`);
    }
  };
  if (!modesOnly) compareCells(one, other, report);
  const [expected, actual] = [state(one), state(other)];
  for (const name of new Set([...expected.keys(), ...actual.keys()])) if (!modesOnly || !/cursor$/.test(name)) report(name, expected.get(name), actual.get(name));
}

/** The newest lines above the normal screen. */
function above({ terminal }, count) {
  const core = terminal._core;
  const { normal } = core._bufferService.buffers;
  const lines = [];
  for (let y = normal.ybase - 1; y >= 0 && lines.length < count; y--) lines.push(lineOf(core, normal, y).join("|"));
  return lines;
}

/** What was expected last, which is the same for many cases of a recording. */
const last = new Map();

function showExpected(cols, rows, steps) {
  const key = JSON.stringify([cols, rows, steps]);
  if (!last.has(key)) {
    if (last.size === 2) {
      for (const { terminal } of last.values()) terminal.dispose();
      last.clear();
    }
    last.set(key, show(cols, rows, steps));
  }
  return last.get(key);
}

/** Leaves the other screen, whatever was cut short. */
const LEAVE = "\x18\x1b[?1049l";

function judge({ cols, rows, scrollback, modesOnly, expected, actual }) {
  const [one, other] = [showExpected(cols, rows, expected), show(cols, rows, actual)];
  const differences = [];
  compare(one, other, "", differences, modesOnly);
  const [lines, others] = [above(one, scrollback), above(other, scrollback)];
  if (lines.length !== others.length) differences.push(`${others.length} lines above the screen, not ${lines.length}`);
  lines.forEach((line, index) => {
    if (line !== others[index]) differences.push(`line ${index + 1} above the screen differs`);
  });
  // What a program that leaves finds: the screen beneath, the cursor that was saved, the tab stops.
  if (one.ledger.isAlternate) {
    other.terminal._core.writeSync(LEAVE);
    compare(showExpected(cols, rows, [...expected, LEAVE]), other, "after leaving: ", differences);
  }
  other.terminal.dispose();
  return differences;
}

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  const found = judge(asked);
  process.stdout.write(JSON.stringify({ name: asked.name, count: found.length, differences: found.slice(0, TOLD) }) + "\n");
}
