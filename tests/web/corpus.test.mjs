// Every recording of tests/terminals through the gateway into the page: what its terminal shows in
// the end, live and drawn for a late joiner, is what the server's model of the screen says: cells,
// colours, attributes, links and the cursor.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { after, before, test } from "node:test";
import { gunzipSync } from "node:zlib";
import { Browser, until } from "./browser.mjs";
import { RealGateway } from "./real.mjs";

const CORPUS = new URL("../terminals/corpus/", import.meta.url);

/** How long a page may take to show what is there, in milliseconds. */
const SHOWN_WITHIN = 10_000;

/**
 * Recordings that xterm.js itself shows otherwise than xterm, if it is given them live:
 * tests/terminals/known.rs says how. Drawn for one who comes late, they have to be right.
 */
const DISPUTED = ["tput-vt420-120x40"]; // a tab stop after the last column

/** Pages at work at once. */
const PAGES = 2;

let browser;
let gateway;

before(async () => {
  browser = await Browser.start();
  gateway = await RealGateway.start();
});
after(async () => {
  await browser.stop();
  await gateway.stop();
});

/** In the page: the cells of each row, `[column, text, look]`, and the cursor. */
function shown() {
  const { terminal } = window.fugue.view;
  const core = terminal._core;
  const { active } = terminal.buffer;
  const text = (value, isRGB) => (isRGB ? `#${value.toString(16).padStart(6, "0")}` : value);
  const colour = (cell, is, get) =>
    cell[`${is}Default`]() ? null : text(cell[get](), cell[`${is}RGB`]());
  const underlines = ["underline", "underline", "double_underline", "curly_underline"];
  underlines.push("dotted_underline", "dashed_underline");
  const names = { Bold: "bold", Dim: "dim", Italic: "italic", Blink: "blink", Inverse: "inverse" };
  Object.assign(names, { Invisible: "hidden", Strikethrough: "struck", Overline: "overline" });
  const look = (cell) => {
    const set = Object.keys(names).filter((name) => cell[`is${name}`]());
    const attributes = set.map((name) => names[name]);
    if (cell.isUnderline()) attributes.push(underlines[cell.getUnderlineStyle()]);
    const id = cell.extended?.urlId;
    return {
      foreground: colour(cell, "isFg", "getFgColor"),
      background: colour(cell, "isBg", "getBgColor"),
      attributes,
      underline_colour: cell.isUnderline()
        ? colour(cell, "isUnderlineColor", "getUnderlineColor")
        : null,
      link: id ? core._oscLinkService.getLinkData(id)?.uri : null,
    };
  };
  const rows = Array.from({ length: terminal.rows }, (_, y) => {
    const line = active.getLine(active.baseY + y);
    const cells = Array.from({ length: terminal.cols }, (_, x) => [x, line.getCell(x)]);
    const whole = cells.filter(([, cell]) => cell.getWidth() > 0);
    return whole.map(([x, cell]) => [x, cell.getChars() || " ", look(cell)]);
  });
  const cursor = {
    row: active.cursorY,
    column: active.cursorX,
    visible: !core.coreService.isCursorHidden,
  };
  return { size: `${terminal.cols}x${terminal.rows}`, cursor, rows };
}

/** A look as text. */
const keyOf = ({ foreground, background, attributes, underline_colour, link }) =>
  JSON.stringify([
    foreground ?? null,
    background ?? null,
    [...attributes].sort(),
    underline_colour ?? null,
    link ?? null,
  ]);
const USUAL = keyOf({ attributes: [] });

/** A line of text for each row, of its runs of one look. Blanks without a look do not count at the end. */
function lines({ size, cursor, rows }) {
  const told = rows.map((cells) => {
    const runs = [];
    for (const [column, text, look] of cells) {
      const key = keyOf(look);
      const last = runs.at(-1);
      if (last?.key === key) last.text += text;
      else runs.push({ column, key, text });
    }
    const last = runs.at(-1);
    if (last?.key === USUAL) last.text = last.text.trimEnd();
    const seen = runs.filter(({ text }) => text !== "");
    return seen.map(({ column, key, text }) => `${column + 1} ${key} ${JSON.stringify(text)}`).join("; ");
  });
  const where = `${cursor.row + 1};${cursor.column + 1}${cursor.visible ? "" : ", hidden"}`;
  return [`${size}, the cursor at ${where}`, ...told];
}

/** The model's screen in the same form. */
function modelled(screen) {
  const rows = screen.screen.map(({ runs }) => {
    const cells = [];
    let at = 0;
    const blank = (to) => to > at && cells.push([at, " ".repeat(to - at), { attributes: [] }]);
    for (const { column, columns, text, attributes = [], ...look } of runs) {
      blank(column);
      cells.push([column, text, { ...look, attributes }]);
      at = column + columns;
    }
    return cells;
  });
  return { size: `${screen.columns}x${screen.rows}`, cursor: screen.cursor, rows };
}

/** Where two screens differ, if they do. */
const differences = (expected, actual) =>
  expected.flatMap((line, at) =>
    line === actual[at] ? [] : [`row ${at}:\n  ${line}\nis expected; the page shows:\n  ${actual[at]}`],
  );

/** What the page shows differently once it had time. */
async function differing(page, expected) {
  const end = Date.now() + SHOWN_WITHIN;
  for (;;) {
    const found = differences(expected, lines(await page.evaluate(shown)));
    if (found.length === 0 || Date.now() > end) return found;
    await new Promise((done) => setTimeout(done, 20));
  }
}

/** Has the page show a session from nothing, as one who comes now. */
async function open(page, session) {
  await page.evaluate((id) => {
    window.fugue.connection.open(null);
    window.fugue.view.terminal.reset();
    document.body.dataset.view = "wait";
    window.fugue.connection.open(id);
  }, session.id);
  await page.waitForFunction(() => document.body.dataset.view === "session");
}

/** What a page shows of a recording otherwise than the model, live and late. */
async function play(page, file) {
  const name = file.replace(/\.gz$/, "");
  const recording = gunzipSync(readFileSync(new URL(file, CORPUS)));
  const session = await gateway.add(name, { size: /\d+x\d+$/.exec(name)[0] });
  await open(page, session);
  await session.print(recording);
  let screen;
  await until(async () => {
    screen = JSON.parse(await gateway.run("screen", name, "--json"));
    return screen.offset === recording.length;
  }, `all of ${name}`);
  const expected = lines(modelled(screen));
  const live = DISPUTED.includes(name) ? [] : await differing(page, expected);
  await open(page, session);
  const late = await differing(page, expected);
  await session.finish(0);
  return [...live.map((what) => `${name}, live, ${what}`), ...late.map((what) => `${name}, late, ${what}`)];
}

test("each recording ends in the page as the model has it, live and late", async () => {
  const wanted = process.env.FUGUE_RECORDINGS ?? "";
  const files = readdirSync(CORPUS).filter((name) => name.includes(wanted));
  assert.ok(files.length > 0);
  const url = await gateway.share(null);
  const found = [];
  const left = [...files];
  const work = async () => {
    const page = await browser.open(url);
    await page.waitForFunction(() => document.body.dataset.view === "index");
    while (left.length > 0) found.push(...(await play(page, left.shift())));
  };
  await Promise.all(Array.from({ length: PAGES }, work));
  const told = found.slice(0, 8).join("\n");
  assert.equal(found.length, 0, `${found.length} rows of ${files.length} recordings differ:\n${told}`);
});
