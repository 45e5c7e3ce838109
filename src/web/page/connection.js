// The line to the gateway: one websocket at a time, made again whenever it is lost.
//
// It goes on at the byte where the last one left off, sends again what was typed and not answered,
// and acknowledges what the terminal has taken. What concerns the screen passes through the sink in
// the order in which it came.
//
// The sink is the terminal: `write(bytes, done)`, `then(action)`, `clear()`, `resize(columns,
// rows)`. All else is told to `tell(what, detail)`:
//   state     "connecting", "live", "waiting" (with `until`), "paused", "over" (with `code` and `text`)
//   welcome, attached, title, lag, viewers, notice, sessions, thumbnail, created, error: the gateway's message
//   gap       {bytes}: so many are missed, and the screen stands for them
//   ended     the gateway's message, once all output before it is shown
//   unknown   bytes that were typed long ago, of which nobody knows whether they arrived
//   answered  how many bytes are typed and not answered

import { Backoff } from "./backoff.js";
import { InputQueue } from "./input.js";
import { Position, ReceiveWindow } from "./position.js";
import { CLOSE, decodeBinary, decodeText } from "./protocol.js";

/** What is told as it comes. */
const TOLD = new Set(["notice", "sessions", "thumbnail", "created"]);

/**
 * A line that brought nothing for so long is asked whether it stands, sooner while an answer is
 * awaited.
 */
const SILENT_FOR = 15_000;
const SILENT_WHILE_TYPING = 2_000;

/** How long it has for the answer, and for being made. */
const ANSWERS_WITHIN = 6_000;
const MADE_WITHIN = 10_000;

/** A line was of use if it brought output, or stood for so long. Then the next attempt comes at once. */
const STOOD_FOR = 5_000;

/** A hidden page lets go of its line after so long. */
export const HIDDEN_FOR = 10_000;

/** What came is acknowledged after so long, however little it is. */
const ACKNOWLEDGED_AFTER = 250;

export class Connection {
  #options;
  #tell;
  #sink;
  #socket = null;
  #backoff = new Backoff();
  #position = new Position();
  #window = new ReceiveWindow();
  #input = new InputQueue();
  /** Bytes in the sink, of this line and those before it. */
  #inSink = 0;
  /** What the gateway is asked for: the index, or a session. */
  #view;
  #session = null;
  #claimed = null;
  #watched = null;
  #hasWelcome = false;
  /** Output before the next `attached` is of a session that is no longer watched. */
  #isAwaited = true;
  #reason = null;
  /** When the gateway let this line in. */
  #since = Infinity;
  #isOver = false;
  #isHidden = false;
  #timers = {};

  /**
   * `options`: the functions `url`, `token`, `viewer` and `scrollback`; the `session`, if it is
   * known; `sink`, `tell`.
   */
  constructor(options) {
    this.#options = options;
    this.#tell = options.tell;
    this.#sink = options.sink;
    this.#session = options.session ?? null;
    // A link to one session shows it in any case.
    this.#view = this.#session ? "session" : "index";
  }

  get isLive() {
    return this.#hasWelcome;
  }

  /** The session that is watched, or is to be. */
  get session() {
    return this.#session;
  }

  /** Connects. After an end this is another try from the start. */
  start() {
    this.#isOver = false;
    this.#backoff.reset();
    this.#connect();
  }

  /** Types. Returns false, and types nothing of it, if too much waits for an answer. */
  type(bytes) {
    if (this.#isOver || !this.#input.push(bytes)) return false;
    this.#sendInput();
    return true;
  }

  /** The session is to have this size; null: whatever the others want. */
  claim(size) {
    this.#claimed = size;
    this.#send(size ? { type: "claim", ...size } : { type: "follow" });
  }

  /** The screen is to be drawn again. */
  redraw() {
    this.#send({ type: "resync" });
  }

  /** On the owner's page: which sessions' pictures are wanted. */
  watch(sessions) {
    this.#watched = sessions;
    this.#send({ type: "watch", sessions });
  }

  /** On the owner's page: starts a session, or ends one. Returns false without a line. */
  create(name, command) {
    return this.#send({ type: "new", name, command });
  }

  kill(session) {
    return this.#send({ type: "kill", session });
  }

  /** On the owner's page: watches a session; null: back to the index. */
  open(session) {
    this.#forget();
    this.#isOver = false;
    this.#session = session;
    this.#view = session ? "session" : "index";
    const sent = this.#send(session ? { type: "open", session } : { type: "close" });
    if (!sent) this.start();
  }

  /** The page is hidden: the line is let go of after a while. */
  hide() {
    this.#isHidden = true;
    this.#after("hidden", HIDDEN_FOR, () => this.pause());
  }

  /** Lets go of the line until the page is shown. */
  pause() {
    if (this.#isOver) return;
    this.#drop();
    this.#tell("state", { state: "paused" });
  }

  /**
   * The page is shown, or the network is back: a line is wanted at once, and one that looks alive
   * is asked.
   */
  wake() {
    this.#isHidden = false;
    this.#stop("hidden");
    if (this.#isOver) return;
    if (this.#hasWelcome) return this.#ask(2000);
    this.#backoff.reset();
    if (!this.#socket) this.#connect();
  }

  /** The network is gone: a line that looks alive is asked, and soon. */
  doubt() {
    if (this.#hasWelcome) this.#ask(2000);
  }

  /** Ends it for good. */
  close() {
    this.#isOver = true;
    this.#drop();
    Object.keys(this.#timers).forEach((name) => this.#stop(name));
  }

  #connect() {
    this.#drop();
    this.#tell("state", { state: "connecting" });
    // What the terminal has not taken counts for no window, so it is awaited: otherwise it adds up.
    if (this.#inSink > 0) {
      const wait = () => (this.#inSink > 0 ? this.#after("retry", 20, wait) : this.#connect());
      return this.#after("retry", 20, wait);
    }
    const socket = new (this.#options.WebSocket ?? WebSocket)(this.#options.url());
    this.#socket = socket;
    this.#window = new ReceiveWindow();
    socket.binaryType = "arraybuffer";
    const current = (action) => (event) => this.#socket === socket && action(event);
    socket.onopen = current(() => this.#hello());
    socket.onmessage = current(({ data }) => this.#received(data));
    socket.onclose = current(({ code, reason }) => this.#lost(code, reason));
    this.#after("made", MADE_WITHIN, () => this.#lost());
  }

  #hello() {
    const { token, viewer, scrollback } = this.#options;
    const resume = this.#position.resume(this.#session);
    const hello = { token: token(), viewer: viewer(), resume, scrollback: scrollback(), view: this.#view };
    this.#socket.send(JSON.stringify({ type: "hello", ...hello }));
  }

  /** A message came. */
  #received(data) {
    this.#stop("answer");
    this.#listen();
    if (typeof data !== "string") return this.#output(data);
    const message = decodeText(data);
    if (!message) this.#lost();
    else if (message.type === "welcome") this.#welcome(message);
    else if (message.type === "attached") this.#attached(message);
    else if (message.type === "error") this.#refused(message);
    else if (TOLD.has(message.type)) this.#tell(message.type, message);
    // Of a session that is no longer wanted, there may be some left.
    else if (!this.#isAwaited) this.#ofSession(message);
  }

  /**
   * A message about the session that is watched. One of a type that is not known is of a later
   * version.
   */
  #ofSession(message) {
    switch (message.type) {
      case "gap":
        this.#position.begin(message.to, true);
        this.#sink.then(() => this.#tell("gap", { bytes: message.to - message.from }));
        break;
      case "resized":
        this.#sink.resize(message.columns, message.rows);
        break;
      case "input":
        this.#input.answered(message.stream, message.offset);
        this.#tell("answered", this.#input.unanswered);
        break;
      case "title":
      case "lag":
      case "viewers":
        this.#tell(message.type, message);
        break;
      case "ended":
        this.#ended(message);
        break;
    }
  }

  #output(buffer) {
    const message = decodeBinary(buffer);
    if (!message) return this.#lost();
    const window = this.#window;
    const size = message.bytes.length;
    window.arrived(size);
    if (this.#isAwaited) return this.#acknowledge(window.written(size));
    const bytes = this.#position.take(message);
    // What is missing is in the server's history: another line brings it.
    if (!bytes) return this.#lost();
    this.#inSink += size;
    this.#backoff.reset();
    this.#sink.write(bytes, () => {
      this.#inSink -= size;
      this.#acknowledge(window.written(size));
      if (!this.#timers.acknowledge) {
        this.#after("acknowledge", ACKNOWLEDGED_AFTER, () => this.#acknowledge(this.#window.acknowledge()));
      }
    });
  }

  #acknowledge(received) {
    if (received !== null) this.#send({ type: "ack", received });
  }

  #welcome(message) {
    this.#stop("made");
    this.#hasWelcome = true;
    if (message.scope === "session") this.#view = "session";
    this.#tell("state", { state: "live" });
    this.#tell("welcome", message);
    this.#since = Date.now();
    if (this.#view === "index" && this.#watched) this.watch(this.#watched);
    this.#listen();
  }

  #attached(message) {
    if (this.#view === "index" || (this.#session && message.session !== this.#session)) return;
    this.#isAwaited = false;
    this.#session = message.session;
    if (!message.resumed || this.#position.offset === null) {
      this.#position.begin(message.offset, true);
      this.#sink.clear();
    }
    this.#sink.resize(message.columns, message.rows);
    this.#tell("attached", message);
    if (this.#claimed) this.claim(this.#claimed);
    const unknown = this.#input.reconnect();
    if (unknown > 0) this.#tell("unknown", unknown);
    this.#sendInput();
  }

  #ended(message) {
    const session = this.#session;
    this.#isOver = true;
    this.#sink.then(() => this.#session === session && this.#tell("ended", message));
  }

  #refused(message) {
    this.#reason = message;
    // What was typed is not to be had any more, and is not sent again.
    if (message.code === "input") this.#input.clear();
    this.#tell("error", message);
  }

  /** Typing goes at once; what cannot go now goes with the next line. */
  #sendInput() {
    if (!this.#hasWelcome || this.#isAwaited) return;
    this.#input.unsent().forEach((message) => this.#socket.send(message));
    this.#tell("answered", this.#input.unanswered);
    this.#listen();
  }

  /** Sends a message; returns false without a line. */
  #send(message) {
    if (!this.#hasWelcome || this.#socket?.readyState !== 1) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  /** Asks a line that is silent for long whether it stands. */
  #listen() {
    if (!this.#hasWelcome || this.#timers.answer) return;
    const silence = this.#input.unanswered > 0 ? SILENT_WHILE_TYPING : SILENT_FOR;
    this.#after("silence", silence, () => this.#ask(ANSWERS_WITHIN));
  }

  #ask(within) {
    if (!this.#send({ type: "ping" })) return this.#lost();
    this.#stop("silence");
    this.#after("answer", within, () => this.#lost());
  }

  /** The line is gone. */
  #lost(code = 1006, reason = "") {
    const text = this.#reason?.text || reason;
    if (Date.now() - this.#since >= STOOD_FOR) this.#backoff.reset();
    this.#drop();
    if (this.#isOver) return;
    if (code === CLOSE.ENDED) return this.#ended({ status: null, text });
    if (Object.values(CLOSE).includes(code)) {
      this.#isOver = true;
      return this.#tell("state", { state: "over", code, text });
    }
    if (this.#isHidden) return this.#tell("state", { state: "paused" });
    const pause = this.#backoff.pause();
    this.#tell("state", { state: "waiting", until: Date.now() + pause });
    this.#after("retry", pause, () => this.#connect());
  }

  /** Lets go of the line, without a word about it. */
  #drop() {
    ["made", "silence", "answer", "retry", "acknowledge"].forEach((name) => this.#stop(name));
    this.#hasWelcome = false;
    this.#isAwaited = true;
    this.#since = Infinity;
    const socket = this.#socket;
    this.#socket = null;
    this.#reason = null;
    socket?.close(1000);
  }

  #forget() {
    this.#position = new Position();
    this.#input.clear();
    this.#claimed = null;
    this.#isAwaited = true;
  }

  #after(name, time, action) {
    this.#stop(name);
    this.#timers[name] = setTimeout(() => {
      delete this.#timers[name];
      action();
    }, time);
  }

  #stop(name) {
    clearTimeout(this.#timers[name]);
    delete this.#timers[name];
  }
}
