// Pictures of sessions: what the server drew of each, in a small terminal that nobody sees, painted
// on a canvas.

import "./styles.js";
import { Unicode11Addon } from "./addon-unicode11.js";
import { Terminal } from "./xterm.js";

/** A cell of the picture, in pixels. */
const WIDTH = 5;
const HEIGHT = 10;

/** The largest picture, in cells: of a larger screen it shows the upper left. */
const MOST = { columns: 240, rows: 80 };

const NAMES = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];

export class Painter {
  #terminal = new Terminal({ allowProposedApi: true, scrollback: 0, logLevel: "off" });
  #queue = Promise.resolve();
  #palette = [];
  #theme;

  constructor(theme) {
    this.theme = theme;
    this.#terminal.loadAddon(new Unicode11Addon());
    this.#terminal.unicode.activeVersion = "11";
  }

  set theme(theme) {
    this.#theme = theme;
    const bright = NAMES.map((name) => theme[`bright${name[0].toUpperCase()}${name.slice(1)}`]);
    this.#palette = [...NAMES.map((name) => theme[name]), ...bright];
  }

  /** Paints a drawing, after those before it. */
  paint(canvas, { columns, rows, drawing }) {
    const bytes = Uint8Array.from(atob(drawing), (character) => character.charCodeAt(0));
    this.#queue = this.#queue.then(
      () =>
        new Promise((done) => {
          this.#terminal.reset();
          this.#terminal.resize(columns, rows);
          this.#terminal.write(bytes, () => {
            this.#draw(canvas, Math.min(columns, MOST.columns), Math.min(rows, MOST.rows));
            done();
          });
        }),
    );
    return this.#queue;
  }

  #draw(canvas, columns, rows) {
    const scale = 2;
    canvas.width = columns * WIDTH * scale;
    canvas.height = rows * HEIGHT * scale;
    const context = canvas.getContext("2d");
    context.scale(scale, scale);
    context.fillStyle = this.#theme.background;
    context.fillRect(0, 0, columns * WIDTH, rows * HEIGHT);
    context.textBaseline = "middle";
    const buffer = this.#terminal.buffer.active;
    const cell = buffer.getNullCell();
    for (let row = 0; row < rows; row += 1) {
      const line = buffer.getLine(buffer.viewportY + row);
      for (let column = 0; line && column < columns; column += 1) {
        if (line.getCell(column, cell)?.getWidth()) this.#cell(context, cell, column * WIDTH, row * HEIGHT);
      }
    }
  }

  #cell(context, cell, x, y) {
    let text = this.#colour(cell, "Fg", this.#theme.foreground);
    let behind = this.#colour(cell, "Bg", null);
    if (cell.isInverse()) [text, behind] = [behind ?? this.#theme.background, text];
    const width = WIDTH * cell.getWidth();
    if (behind) {
      context.fillStyle = behind;
      context.fillRect(x, y, width, HEIGHT);
    }
    const characters = cell.getChars();
    if (!characters.trim() || cell.isInvisible()) return;
    context.globalAlpha = cell.isDim() ? 0.6 : 1;
    context.fillStyle = text;
    context.font = `${cell.isBold() ? "bold " : ""}8.3px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace`;
    context.fillText(characters, x, y + HEIGHT / 2, width);
    context.globalAlpha = 1;
  }

  #colour(cell, which, usual) {
    if (cell[`is${which}Default`]()) return usual;
    const value = cell[`get${which}Color`]();
    if (cell[`is${which}RGB`]()) return `#${value.toString(16).padStart(6, "0")}`;
    return value < 16 ? this.#palette[value] : indexed(value);
  }
}

/** The colours that every terminal has beyond the first sixteen: a cube, and greys. */
function indexed(value) {
  if (value >= 232) {
    const grey = 8 + (value - 232) * 10;
    return `rgb(${grey} ${grey} ${grey})`;
  }
  const level = (part) => (part === 0 ? 0 : 55 + part * 40);
  const at = value - 16;
  return `rgb(${level(Math.floor(at / 36))} ${level(Math.floor(at / 6) % 6)} ${level(at % 6)})`;
}
