// The terminal as it is seen: xterm.js at the session's size, in letters as large as fit.
//
// It is the sink of a connection. It types only when it may and is unlocked; what the terminal
// itself replies to a program's question goes out in any case, because the server decides whose
// answer counts.

import "./styles.js";
import { Unicode11Addon } from "./addon-unicode11.js";
import { Terminal } from "./xterm.js";
import { terminalTheme } from "./themes.js";

/**
 * Sizes of letters, in pixels. The smallest are for a large session on a phone, where a person
 * zooms in to read.
 */
const SMALLEST = 2;
const LARGEST = 22;

/**
 * Text is at least this legible, whatever colours a program chose for another background: WCAG's
 * AA.
 */
const CONTRAST = 4.5;

/** Their size where the session is fitted to the window. */
const USUAL = 14;

/** Beside the screen there is room for xterm.js's scroll bar. */
const SCROLL_BAR = 14;

/** A size that a person fits the session to is at least this, and at most what the server takes. */
const LEAST = { columns: 10, rows: 4 };
const MOST = { columns: 1000, rows: 500 };

/** Reports of the terminal's focus: no answers, and nothing that a locked page should say. */
const FOCUS = new Set(["\x1b[I", "\x1b[O"]);

const encoder = new TextEncoder();

export class View {
  #frame;
  #terminal;
  #settings;
  #isUser = false;
  #observer;

  /** Whether what a person types goes to the session; else `onLocked` is called instead. */
  isUnlocked = false;

  /**
   * `handlers`: `type(bytes, isUser)`, `locked()`, `link(target)`, `hover(target)`, `title(text)`,
   * `bell()`.
   */
  constructor(frame, settings, handlers) {
    this.#frame = frame;
    this.#settings = settings;
    const linkHandler = {
      activate: (_, target) => handlers.link(target),
      hover: (_, target) => handlers.hover(target),
      leave: () => handlers.hover(null),
      // The handler shows the target and decides.
      allowNonHttpProtocols: true,
    };
    this.#terminal = new Terminal({
      allowProposedApi: true,
      linkHandler,
      fontFamily: "ui-monospace, 'Cascadia Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace",
      logLevel: "off",
      rightClickSelectsWord: false,
    });
    this.#terminal.loadAddon(new Unicode11Addon());
    this.#terminal.unicode.activeVersion = "11";
    // Programs may not reach the person's clipboard.
    this.#terminal.parser.registerOscHandler(52, () => true);
    this.#apply();
    this.#terminal.open(frame);
    this.#terminal.onTitleChange((text) => handlers.title(text));
    this.#terminal.onBell(() => handlers.bell());
    this.#listen(handlers);
    this.#observer = new ResizeObserver(() => this.layout());
    this.#observer.observe(frame.parentElement);
  }

  get terminal() {
    return this.#terminal;
  }

  #listen(handlers) {
    const terminal = this.#terminal;
    // Only xterm.js can tell what a person did from what its terminal replies.
    terminal._core.coreService.onUserInput(() => (this.#isUser = true));
    const typed = (bytes, text) => {
      const isUser = this.#isUser || FOCUS.has(text);
      this.#isUser = false;
      if (isUser && !this.isUnlocked) {
        // A mouse that moves or scrolls is no attempt to type.
        if (!text.startsWith("\x1b") || text.startsWith("\x1b[200~")) handlers.locked();
        return;
      }
      handlers.type(bytes, isUser);
    };
    terminal.onData((text) => typed(encoder.encode(text), text));
    terminal.onBinary((text) =>
      typed(
        Uint8Array.from(text, (character) => character.charCodeAt(0)),
        text,
      ),
    );
    terminal.attachCustomKeyEventHandler((event) => this.#key(event, handlers));
  }

  /** Whether xterm.js is to have a key. */
  #key(event, handlers) {
    const isCopy = event.ctrlKey && event.shiftKey && event.code === "KeyC";
    if (isCopy && event.type === "keydown" && this.#terminal.hasSelection()) {
      event.preventDefault();
      document.execCommand("copy");
      return false;
    }
    // Ctrl+Shift+Space locks and unlocks, and is nothing to a terminal.
    if (event.ctrlKey && event.shiftKey && event.code === "Space") return false;
    if (this.isUnlocked) return true;
    // A locked page leaves all keys to the browser: Tab goes on, Ctrl+C copies. It says why nothing
    // is typed.
    const isTyping = event.type === "keydown" && !event.ctrlKey && !event.altKey && !event.metaKey;
    if (isTyping && (event.key.length === 1 || event.key === "Enter")) handlers.locked();
    return false;
  }

  /** Writes output; `done` is called once the terminal has taken it. */
  write(bytes, done) {
    this.#terminal.write(bytes, done);
  }

  /** Does something once all output before it is taken, and before any after it. */
  then(action) {
    this.#terminal.write("", action);
  }

  clear() {
    this.then(() => this.#terminal.reset());
  }

  resize(columns, rows) {
    this.then(() => {
      if (columns !== this.#terminal.cols || rows !== this.#terminal.rows)
        this.#terminal.resize(columns, rows);
      this.layout();
    });
  }

  /** Pastes as a person would: with the brackets that the program asked for. */
  paste(text) {
    this.#terminal.paste(text);
  }

  /** Types a key of the keys row. */
  key(text) {
    this.#terminal.input(text, true);
  }

  /** Whether cursor keys are to be sent in their application form. */
  get hasApplicationCursor() {
    return this.#terminal.modes.applicationCursorKeysMode;
  }

  /** The height of a line, in pixels. */
  get lineHeight() {
    return this.#cell().height || 1;
  }

  /** Whether the screen is larger than the window, so that the window scrolls. */
  get isLarge() {
    return this.#overflows(this.#room());
  }

  /**
   * Scrolls by so many lines; where the program has the whole screen, as a wheel over this place
   * does.
   */
  scroll(lines, { clientX, clientY }) {
    const { element, buffer } = this.#terminal;
    if (buffer.active.type === "normal") return this.#terminal.scrollLines(lines);
    const wheel = { deltaY: lines, deltaMode: WheelEvent.DOM_DELTA_LINE, clientX, clientY };
    element.dispatchEvent(new WheelEvent("wheel", { ...wheel, bubbles: true, cancelable: true }));
  }

  focus() {
    this.#terminal.focus();
  }

  /** Whether the page's own keyboard is to come up. */
  set inputMode(mode) {
    this.#terminal.textarea.inputMode = mode;
  }

  /** The settings changed. */
  refresh() {
    this.#apply();
    this.layout();
  }

  #apply() {
    const { theme, scrollback, screenReader, blink } = this.#settings;
    const options = this.#terminal.options;
    options.theme = terminalTheme(theme);
    options.minimumContrastRatio = CONTRAST;
    options.scrollback = scrollback;
    options.screenReaderMode = screenReader;
    options.cursorBlink = blink;
  }

  /** The size that the session would have to have to fill the window. */
  wanted() {
    const { width, height } = this.#cell();
    const room = this.#room();
    const scale = (this.#settings.letters || USUAL) / this.#terminal.options.fontSize;
    const within = (count, least, most) => Math.max(least, Math.min(most, Math.floor(count)));
    return {
      columns: within(room.width / (width * scale), LEAST.columns, MOST.columns),
      rows: within(room.height / (height * scale), LEAST.rows, MOST.rows),
    };
  }

  #cell() {
    const { width, height } = this.#terminal._core._renderService.dimensions.css.cell;
    return { width, height };
  }

  /** What the window has for the screen. */
  #room() {
    const style = getComputedStyle(this.#frame.parentElement);
    const inner = (size, a, b) => size - parseFloat(style[a]) - parseFloat(style[b]);
    const { clientWidth, clientHeight } = this.#frame.parentElement;
    return {
      width: inner(clientWidth, "paddingLeft", "paddingRight") - SCROLL_BAR,
      height: inner(clientHeight, "paddingTop", "paddingBottom"),
    };
  }

  /**
   * Letters as large as let the whole screen be seen; or as large as the settings say, and the
   * window scrolls.
   */
  layout() {
    const room = this.#room();
    if (room.width <= 0 || room.height <= 0) return;
    const terminal = this.#terminal;
    const set = (size) => {
      if (terminal.options.fontSize !== size) terminal.options.fontSize = size;
    };
    if (this.#settings.letters) {
      set(this.#settings.letters);
    } else {
      const { width, height } = this.#cell();
      const scale = Math.min(room.width / (width * terminal.cols), room.height / (height * terminal.rows));
      let size = Math.floor(Math.min(LARGEST, terminal.options.fontSize * scale) * 4) / 4;
      set(Math.max(SMALLEST, size));
      // Cells are whole pixels, so that the first guess may be too large, or smaller than need be.
      while (size > SMALLEST && this.#overflows(room)) set((size -= 0.25));
      while (size < LARGEST && !this.#overflows(room)) set((size += 0.25));
      if (size > SMALLEST && this.#overflows(room)) set(size - 0.25);
    }
    const { width, height } = this.#cell();
    this.#frame.style.width = `${Math.ceil(width * terminal.cols) + SCROLL_BAR}px`;
    this.#frame.classList.toggle("is-large", this.isLarge);
    this.#frame.style.height = `${Math.ceil(height * terminal.rows)}px`;
  }

  #overflows(room) {
    const { width, height } = this.#cell();
    return width * this.#terminal.cols > room.width + 0.5 || height * this.#terminal.rows > room.height + 0.5;
  }
}
