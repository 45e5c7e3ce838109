// A phone: a row of the keys that its keyboard lacks, and a page as high as what the keyboard
// leaves of it.

const CURSOR = { up: "A", down: "B", right: "C", left: "D" };

/** Whether the main way to point is a finger. */
export const isTouch = () => matchMedia("(pointer: coarse)").matches;

/** What Ctrl and this text type: Ctrl goes with one letter, and with nothing longer. */
export function withControl(text) {
  if (text.length !== 1) return text;
  const code = text.toUpperCase().charCodeAt(0);
  if (text === " ") return "\0";
  if (text === "?") return "\x7f";
  return code >= 64 && code < 96 ? String.fromCharCode(code - 64) : text;
}

/** The bytes of a key of the row. */
export function keyText(name, hasApplicationCursor, control) {
  if (name === "escape") return "\x1b";
  if (name === "tab") return "\t";
  const letter = CURSOR[name];
  if (!letter) return null;
  if (control) return `\x1b[1;5${letter}`;
  return `\x1b${hasApplicationCursor ? "O" : "["}${letter}`;
}

/** The row of keys. Ctrl stays down for one key, of the row or of the keyboard. */
export class Keys {
  #row;
  #view;
  #isControl = false;

  constructor(row, view) {
    this.#row = row;
    this.#view = view;
    // A press must not take the focus from the terminal: the keyboard would go away.
    row.addEventListener("pointerdown", (event) => event.preventDefault());
    row.addEventListener("click", (event) => {
      const name = event.target.closest("[data-key]")?.dataset.key;
      if (name) this.#pressed(name);
    });
  }

  set isShown(isShown) {
    this.#row.hidden = !isShown;
    if (!isShown) this.#control(false);
  }

  /** What a person typed, with Ctrl if it is down. */
  typed(bytes) {
    if (!this.#isControl) return bytes;
    this.#control(false);
    if (bytes.length !== 1) return bytes;
    return new TextEncoder().encode(withControl(new TextDecoder().decode(bytes)));
  }

  #pressed(name) {
    if (name === "control") return this.#control(!this.#isControl);
    if (name === "keyboard") return this.#view.focus();
    const text = keyText(name, this.#view.hasApplicationCursor, this.#isControl);
    this.#control(false);
    if (text) this.#view.key(text);
  }

  #control(isDown) {
    this.#isControl = isDown;
    this.#row.querySelector("[data-key=control]").setAttribute("aria-pressed", String(isDown));
  }
}

/**
 * How far a finger moves before it scrolls, in pixels; and how fast it has to leave, in pixels a
 * millisecond.
 */
const SLACK = 8;
const FLICK = 0.3;

/**
 * Scrolls by touch, which xterm.js 6 does not (its issue 5489). Sideways, and when zoomed in, the
 * browser does.
 */
export function scrollByTouch(frame, view) {
  let touch = null;
  let coasting = 0;
  const move = (distance, at) => {
    touch.rest += distance;
    const lines = Math.trunc(touch.rest / view.lineHeight);
    touch.rest -= lines * view.lineHeight;
    if (lines !== 0) view.scroll(-lines, at);
  };
  const coast = (speed, at, since) => {
    coasting = requestAnimationFrame((now) => {
      move(speed * (now - since), at);
      if (Math.abs(speed) > 0.05) coast(speed * 0.95, at, now);
    });
  };
  frame.addEventListener("touchstart", ({ touches, timeStamp }) => {
    cancelAnimationFrame(coasting);
    const [{ clientX, clientY }] = touches;
    const isOurs = touches.length === 1 && !view.isLarge && !isZoomed();
    touch = isOurs ? { clientX, clientY, time: timeStamp, speed: 0, rest: 0, isMoving: false } : null;
  });
  frame.addEventListener(
    "touchmove",
    (event) => {
      if (!touch || event.touches.length !== 1) return;
      const [{ clientY }] = event.touches;
      const distance = clientY - touch.clientY;
      if (!touch.isMoving && Math.abs(distance) < SLACK) return;
      touch.isMoving = true;
      event.preventDefault();
      const time = Math.max(1, event.timeStamp - touch.time);
      Object.assign(touch, { clientY, time: event.timeStamp, speed: distance / time });
      move(distance, touch);
    },
    { passive: false },
  );
  frame.addEventListener("touchend", () => {
    if (touch?.isMoving && Math.abs(touch.speed) > FLICK) coast(touch.speed, touch, performance.now());
  });
}

/** A person who zooms in wants to see a part, and to move it. */
const isZoomed = () => (window.visualViewport?.scale ?? 1) > 1.01;

/** Keeps the page as high as what is seen of it. */
export function followViewport() {
  const viewport = window.visualViewport;
  if (!viewport) return;
  const fit = () => {
    document.documentElement.classList.toggle("is-zoomed", isZoomed());
    if (isZoomed()) return;
    document.documentElement.style.setProperty("--height", `${Math.round(viewport.height)}px`);
    window.scrollTo(0, 0);
  };
  viewport.addEventListener("resize", fit);
  fit();
}
