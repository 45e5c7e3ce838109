// A gateway of the tests' own: it speaks the page's protocol, and does what a real one does only by
// accident. It cuts lines in the middle of a flood, skips output, answers twice or not at all.
//
// Its sessions are logs of bytes; their screen, for a page that joins, is all of the log that is
// held.
import { randomBytes, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";

const PAGE = new URL("../../src/web/page/", import.meta.url);
const { WebSocketServer } = createRequire(PAGE)("ws");

/** Bytes sent beyond the last acknowledgement. */
const WINDOW = 512 * 1024;

/** As the gateway sends it. */
export const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self' data:",
  "frame-ancestors 'none'",
  "base-uri 'none'",
  "form-action 'none'",
].join("; ");

/** What is served: by address below the base. */
function assets() {
  const lines = readFileSync(new URL("assets.txt", PAGE), "utf8")
    .split("\n")
    .filter((line) => line && !line.startsWith("#"));
  return new Map(
    lines.map((line) => {
      const [, url, file, type] = /^(\S+) (\S+) (.+)$/.exec(line);
      return [url, { type, file: new URL(file, PAGE) }];
    }),
  );
}

export class MockSession {
  id = randomUUID();
  log = Buffer.alloc(0);
  /** The oldest byte that is held. */
  held = 0;
  columns = 80;
  rows = 24;
  title = "";
  ended = null;
  typed = Buffer.alloc(0);
  viewers = new Set();
  #streams = new Map();

  constructor(name, command = "bash") {
    this.name = name;
    this.command = command;
  }

  get end() {
    return this.log.length;
  }

  print(bytes) {
    this.log = Buffer.concat([this.log, Buffer.from(bytes)]);
    this.viewers.forEach((viewer) => viewer.pump());
  }

  /** What a page is drawn: the screen as it was reached. */
  get screen() {
    return Buffer.concat([Buffer.from("\x18\x1b[?1049l\x1b[m\x1b[H\x1b[2J"), this.log.subarray(this.held)]);
  }

  resize(columns, rows) {
    Object.assign(this, { columns, rows });
    this.viewers.forEach((viewer) => viewer.say({ type: "resized", columns, rows }));
  }

  /** Types what is next in a stream. Returns how far that is. */
  type(stream, offset, bytes) {
    const at = this.#streams.get(stream) ?? offset;
    const fresh = bytes.subarray(Math.max(0, at - offset));
    if (offset <= at) this.typed = Buffer.concat([this.typed, fresh]);
    this.#streams.set(stream, Math.max(at, offset + bytes.length));
    return this.#streams.get(stream);
  }

  finish(code) {
    this.ended = { type: "ended", status: { code }, text: `exit status ${code}` };
    this.viewers.forEach((viewer) => viewer.pump());
  }
}

class Viewer {
  sent = 0;
  acknowledged = 0;
  offset = 0;
  session = null;
  watched = [];

  constructor(gateway, socket) {
    this.gateway = gateway;
    this.socket = socket;
    socket.on("message", (data, isBinary) => (isBinary ? this.#typed(data) : this.#said(JSON.parse(data))));
    socket.on("close", () => {
      this.session?.viewers.delete(this);
      gateway.viewers.delete(this);
    });
  }

  say(message) {
    this.socket.send(JSON.stringify(message));
  }

  #said(message) {
    this.gateway.heard.push(message);
    const handlers = {
      hello: () => this.#hello(message),
      ack: () => {
        this.acknowledged = message.received;
        this.pump();
      },
      ping: () => this.gateway.isDeaf || this.say({ type: "pong" }),
      claim: () => this.session.resize(message.columns, message.rows),
      resync: () => this.draw(),
      open: () => this.attach(this.gateway.sessions.get(message.session), null),
      close: () => this.#leave(),
      watch: () => ((this.watched = message.sessions), this.pictures()),
      kill: () => (this.gateway.sessions.get(message.session).finish(143), this.gateway.list()),
      new: () => {
        const session = this.gateway.add(message.name || "new", message.command.join(" ") || "bash");
        this.say({ type: "created", session: session.id });
      },
    };
    handlers[message.type]?.();
  }

  #hello({ token, resume }) {
    const link = this.gateway.links.get(token);
    if (!link) {
      this.say({ type: "error", code: "link", text: "the link is not valid" });
      return this.socket.close(4001);
    }
    this.link = link;
    const { session, access } = link;
    const about = session && { id: session.id, name: session.name, title: session.title };
    this.say({
      type: "welcome",
      version: "0.1.0",
      scope: session ? "session" : "all",
      access,
      session: about,
    });
    const wanted = session ?? this.gateway.sessions.get(resume?.session);
    if (wanted) return this.attach(wanted, resume);
    this.say(this.gateway.described());
  }

  #leave() {
    this.session?.viewers.delete(this);
    this.session = null;
    this.say(this.gateway.described());
  }

  attach(session, resume) {
    this.session?.viewers.delete(this);
    this.session = session;
    session.viewers.add(this);
    const from = resume?.session === session.id ? resume.offset : null;
    const isResumed = from !== null && from !== undefined;
    this.offset = isResumed ? Math.max(from, session.held) : session.end;
    const { id, name, columns, rows } = session;
    this.say({ type: "attached", session: id, name, columns, rows, offset: this.offset, resumed: isResumed });
    if (session.title) this.say({ type: "title", title: session.title });
    this.say({ type: "viewers", count: session.viewers.size });
    if (isResumed && from < session.held) this.gap(from);
    else if (!isResumed || resume.after === "screen") this.draw();
    this.pump();
  }

  draw() {
    this.offset = this.session.end;
    this.#send(1, this.session.screen);
  }

  /** Skips what lies before the end. */
  gap(from = this.offset) {
    this.say({ type: "gap", from, to: this.session.end });
    this.draw();
  }

  /** Sends output as far as the window allows. */
  pump() {
    const { session } = this;
    while (session && this.offset < session.end && this.sent - this.acknowledged < WINDOW) {
      const piece = session.log.subarray(this.offset, Math.min(session.end, this.offset + 16384));
      this.#send(0, piece);
      this.offset += piece.length;
      this.gateway.cut?.(this);
    }
    this.gateway.mostAhead = Math.max(this.gateway.mostAhead, this.sent - this.acknowledged);
    if (session?.ended && this.offset === session.end) {
      this.say(session.ended);
      if (this.link.session) this.socket.close(4004);
    }
  }

  #send(kind, bytes) {
    const head = Buffer.alloc(9);
    head[0] = kind;
    head.writeBigUInt64LE(BigInt(this.offset), 1);
    this.socket.send(Buffer.concat([head, bytes]));
    this.sent += bytes.length;
  }

  #typed(data) {
    const [stream, offset] = [data.subarray(0, 16).toString("hex"), Number(data.readBigUInt64LE(16))];
    if (this.link.access !== "read-write") return this.socket.close(4002);
    const reached = this.session.type(stream, offset, data.subarray(24));
    if (!this.gateway.keepsAnswers) this.say({ type: "input", stream, offset: reached });
  }

  pictures() {
    for (const id of this.watched) {
      const session = this.gateway.sessions.get(id);
      const { columns, rows, screen } = session;
      this.say({ type: "thumbnail", session: id, columns, rows, drawing: screen.toString("base64") });
    }
  }
}

export class MockGateway {
  sessions = new Map();
  links = new Map();
  viewers = new Set();
  /** All that pages said. */
  heard = [];
  /** The most that was sent beyond an acknowledgement. */
  mostAhead = 0;
  /** Set to cut a line while it is sent output. */
  cut = null;
  isDeaf = false;
  keepsAnswers = false;
  #base;
  #server;
  #sockets;

  static async start(base = "/") {
    const gateway = new MockGateway();
    gateway.#base = base;
    const served = assets();
    gateway.#server = createServer((request, response) => {
      const asset = request.url.startsWith(base) && served.get(request.url.slice(base.length));
      if (!asset) return response.writeHead(404).end();
      const headers = {
        "content-type": asset.type,
        "content-security-policy": POLICY,
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
      };
      response.writeHead(200, headers).end(readFileSync(asset.file));
    });
    gateway.#sockets = new WebSocketServer({ server: gateway.#server, path: `${base}ws` });
    gateway.#sockets.on("connection", (socket) => gateway.viewers.add(new Viewer(gateway, socket)));
    await new Promise((done) => gateway.#server.listen(0, "127.0.0.1", done));
    return gateway;
  }

  get origin() {
    return `http://127.0.0.1:${this.#server.address().port}`;
  }

  add(name, command) {
    const session = new MockSession(name, command);
    this.sessions.set(session.id, session);
    this.list();
    return session;
  }

  /** The address of a link to a session, or to all. */
  share(session, access = "read-only") {
    const token = randomBytes(16).toString("base64url");
    this.links.set(token, { session, access });
    return `${this.origin}${this.#base}s/#${token}`;
  }

  described() {
    const sessions = [...this.sessions.values()].map(
      ({ id, name, title, command, ended, columns, rows, viewers }) => ({
        ...{ id, name, title, command, columns, rows, state: ended?.text ?? "running" },
        ...{ clients: viewers.size, idle_seconds: 3, unseen: 0, bell: false },
      }),
    );
    return { type: "sessions", sessions };
  }

  list() {
    this.viewers.forEach((viewer) => viewer.link && !viewer.session && viewer.say(this.described()));
  }

  /** Cuts every line, as a gateway does that is killed. */
  drop(code) {
    for (const { socket } of this.viewers) code ? socket.close(code) : socket.terminate();
  }

  async stop() {
    this.drop();
    this.#sockets.close();
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
  }
}
