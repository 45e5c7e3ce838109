// The page's logic without a page: offsets, acknowledgements, what is typed, pauses, the link, and
// the line to the gateway.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { Backoff } from "../../src/web/page/backoff.js";
import { Connection, HIDDEN_FOR } from "../../src/web/page/connection.js";
import { ago, bytes, counted, title, words } from "../../src/web/page/format.js";
import { InputQueue, MOST_KEPT, RESENT_FOR } from "../../src/web/page/input.js";
import { Link, sessionOf } from "../../src/web/page/link.js";
import { keyText, withControl } from "../../src/web/page/phone.js";
import { Position, ReceiveWindow } from "../../src/web/page/position.js";
import {
  MOST_TYPED,
  OUTPUT,
  SCREEN,
  decodeBinary,
  decodeText,
  encodeInput,
  hex,
} from "../../src/web/page/protocol.js";
import { load } from "../../src/web/page/settings.js";

const ID = "00000000-0000-4000-8000-000000000001";
const OTHER = "00000000-0000-4000-8000-000000000002";

const text = (value) => new TextEncoder().encode(value);

/** A binary message as the gateway sends it. */
function binary(kind, offset, carried) {
  const message = new Uint8Array(9 + carried.length);
  message[0] = kind;
  new DataView(message.buffer).setBigUint64(1, BigInt(offset), true);
  message.set(carried, 9);
  return message.buffer;
}

/** What a message that the page typed says. */
function typed(message) {
  const view = new DataView(message.buffer, message.byteOffset);
  return {
    stream: hex(message.subarray(0, 16)),
    offset: Number(view.getBigUint64(16, true)),
    bytes: message.subarray(24),
  };
}

test("binary messages are read as they are written, and others are refused", () => {
  const { kind, offset, bytes: carried } = decodeBinary(binary(SCREEN, 2 ** 40, text("abc")));
  assert.deepEqual([kind, offset, new TextDecoder().decode(carried)], [SCREEN, 2 ** 40, "abc"]);
  assert.equal(decodeBinary(new ArrayBuffer(8)), null);
  assert.equal(decodeBinary(binary(2, 0, text(""))), null);
  const endless = binary(OUTPUT, 0, text("x"));
  new Uint8Array(endless).fill(0xff, 1, 9);
  assert.equal(decodeBinary(endless), null);
  const message = typed(encodeInput(new Uint8Array(16).fill(7), 2 ** 33, text("ls\r")));
  assert.deepEqual(
    [message.stream, message.offset, new TextDecoder().decode(message.bytes)],
    ["07".repeat(16), 2 ** 33, "ls\r"],
  );
});

test("text messages are objects with a type, and nothing else is one", () => {
  assert.equal(decodeText('{"type":"lag","bytes":3}').bytes, 3);
  for (const other of ["", "null", "3", "[]", "{}", '{"type":1}', "{"])
    assert.equal(decodeText(other), null, other);
});

test("output is shown once however it overlaps, and a hole is seen", () => {
  const printed = text("0123456789");
  for (let cut = 0; cut <= 10; cut += 1) {
    for (let again = 0; again <= cut; again += 1) {
      const position = new Position();
      position.begin(100, false);
      const piece = (from, to) => ({ kind: OUTPUT, offset: 100 + from, bytes: printed.subarray(from, to) });
      const seen = [...position.take(piece(0, cut)), ...position.take(piece(again, 10))];
      assert.deepEqual(seen, [...printed]);
      assert.equal(position.take({ kind: OUTPUT, offset: 111, bytes: printed }), null);
      assert.equal(position.offset, 110);
    }
  }
});

test("a line lost within a screen asks for the screen again", () => {
  const position = new Position();
  assert.deepEqual(position.resume(ID), { session: ID, offset: null, after: "output" });
  assert.equal(position.resume(null), null);
  assert.equal(position.take({ kind: OUTPUT, offset: 0, bytes: text("x") }), null, "output before it began");
  position.take({ kind: SCREEN, offset: 50, bytes: text("drawn") });
  assert.deepEqual(position.resume(ID), { session: ID, offset: 50, after: "screen" });
  position.take({ kind: OUTPUT, offset: 50, bytes: text("") });
  assert.equal(position.resume(ID).after, "screen", "an empty piece of output shows nothing");
  position.take({ kind: OUTPUT, offset: 50, bytes: text("ab") });
  assert.deepEqual(position.resume(ID), { session: ID, offset: 52, after: "output" });
});

test("what the terminal took is acknowledged in steps, and the rest on request", () => {
  const window = new ReceiveWindow();
  let acknowledged = 0;
  for (let written = 1000; written <= 1_000_000; written += 1000) {
    acknowledged = window.written(1000) ?? acknowledged;
    assert.ok(written - acknowledged < ReceiveWindow.STEP);
  }
  assert.equal(window.acknowledge(), 1_000_000);
  assert.equal(window.acknowledge(), null);
});

test("what was typed is sent again until it is answered, and is typed once", () => {
  let seed = 1;
  const random = (below) => (seed = (seed * 48271) % 2147483647) % below;
  for (let run = 0; run < 200; run += 1) {
    // A server that types what is next in the stream, and a line that loses messages and answers,
    // with all after them.
    const queue = new InputQueue();
    const [wanted, got] = [[], []];
    const send = () => {
      for (const message of queue.unsent()) {
        if (random(4) === 0) return queue.reconnect();
        const { stream, offset, bytes: piece } = typed(message);
        assert.ok(offset <= got.length, "a hole in what is typed");
        got.push(...piece.subarray(got.length - offset));
        if (random(3) > 0) queue.answered(stream, got.length - random(2));
      }
      return 0;
    };
    for (let step = 0; step < 20; step += 1) {
      const piece = Uint8Array.from({ length: 1 + random(9) }, () => random(256));
      assert.ok(queue.push(piece));
      wanted.push(...piece);
      send();
    }
    queue.reconnect();
    while (got.length < wanted.length) send();
    assert.deepEqual(got, wanted);
  }
});

test("too much typing is refused whole, and pieces are as large as the server takes", () => {
  const queue = new InputQueue();
  assert.ok(queue.push(new Uint8Array(MOST_KEPT)));
  assert.equal(queue.push(text("x")), false);
  assert.equal(queue.unanswered, MOST_KEPT);
  const sent = queue.unsent().map(typed);
  assert.ok(sent.every(({ bytes: piece }) => piece.length <= MOST_TYPED));
  queue.answered("00".repeat(16), 10);
  assert.equal(queue.unanswered, MOST_KEPT, "an answer to another stream");
  queue.answered(sent[0].stream, MOST_KEPT + 1);
  assert.equal(queue.unanswered, MOST_KEPT, "an answer to what was not typed");
  queue.answered(sent[0].stream, 10);
  assert.ok(queue.push(new Uint8Array(10)));
});

test("what the server may have forgotten is not typed again, and is told", () => {
  const queue = new InputQueue();
  queue.push(text("sent"));
  const [first] = queue.unsent(0).map(typed);
  queue.push(text("kept"));
  assert.equal(queue.reconnect(RESENT_FOR), 0, "in time");
  queue.unsent(RESENT_FOR);
  queue.push(text("later"));
  assert.equal(queue.reconnect(3 * RESENT_FOR), 8);
  const again = queue.unsent().map(typed);
  assert.deepEqual(
    again.map(({ offset, bytes: piece }) => [offset, new TextDecoder().decode(piece)]),
    [[0, "later"]],
  );
  assert.notEqual(again[0].stream, first.stream);
});

test("pauses double up to a bound, and begin again after use", () => {
  for (const [random, part] of [
    [0, 0.5],
    [1, 1],
  ]) {
    const backoff = new Backoff(() => random);
    const expected = [0, 50, 100, 200, 400, 800, 1600, 3200, 5000, 5000];
    assert.deepEqual(
      expected.map(() => backoff.pause()),
      expected.map((pause) => pause * part),
    );
    backoff.reset();
    assert.equal(backoff.pause(), 0);
  }
});

test("a token is taken from the fragment and kept for its path, and nothing else is one", () => {
  const kept = new Map();
  const storage = { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value) };
  const link = new Link(storage, "/s/");
  assert.equal(link.token, null);
  for (const other of ["", "#", "#/x", "#short", `#${"a".repeat(23)}`, `#${"a".repeat(21)}!`])
    assert.equal(link.take(other), false);
  assert.ok(link.take("#AAAAAAAAAAAAAAAAAAA_-9"));
  assert.equal(link.token, "AAAAAAAAAAAAAAAAAAA_-9");
  assert.match(link.viewer, /^[0-9a-f]{32}$/);
  const reloaded = new Link(storage, "/s/");
  assert.deepEqual([reloaded.token, reloaded.viewer], [link.token, link.viewer]);
  assert.equal(new Link(storage, "/x/s/").token, null);
  const refused = new Link(
    {
      getItem: () => {
        throw new Error("no");
      },
      setItem: () => {
        throw new Error("no");
      },
    },
    "/s/",
  );
  assert.ok(refused.take("#AAAAAAAAAAAAAAAAAAA_-9"));
  assert.deepEqual([refused.token, refused.viewer], ["AAAAAAAAAAAAAAAAAAA_-9", refused.viewer]);
  assert.equal(sessionOf(`#/${ID}`), ID);
  assert.equal(sessionOf("#/../../etc"), null);
});

test("numbers and titles are shown as a person reads them", () => {
  assert.deepEqual([0, 999, 1000, 1500, 99_000, 1_234_567, 5e9].map(bytes), [
    "0 B",
    "999 B",
    "1.0 KB",
    "1.5 KB",
    "99 KB",
    "1.2 MB",
    "5.0 GB",
  ]);
  assert.deepEqual([0, 3, 61, 7200, 200_000].map(ago), ["now", "3 s", "1 min", "2 h", "2 d"]);
  assert.deepEqual([counted(1, "viewer"), counted(2, "viewer")], ["1 viewer", "2 viewers"]);
  assert.equal(title("a\x1b[31m\n\u202eb\u200f  "), "a [31m b");
  assert.equal(title("x".repeat(300)).length, 200);
});

test("a command line is split as a shell splits it", () => {
  assert.deepEqual(words(`sh -c 'echo "hi there"' "" a\\ b`), ["sh", "-c", 'echo "hi there"', "", "a b"]);
  assert.deepEqual(words("  "), []);
  assert.equal(words("echo 'open"), null);
});

test("the keys row types what a keyboard would", () => {
  assert.deepEqual(
    ["escape", "tab", "up"].map((name) => keyText(name, false, false)),
    ["\x1b", "\t", "\x1b[A"],
  );
  assert.deepEqual([keyText("left", true, false), keyText("left", true, true)], ["\x1bOD", "\x1b[1;5D"]);
  assert.deepEqual(["c", "C", "[", " ", "?", "é", "1", "abc"].map(withControl), [
    "\x03",
    "\x03",
    "\x1b",
    "\0",
    "\x7f",
    "é",
    "1",
    "abc",
  ]);
});

test("settings that are none are as usual", () => {
  const kept = JSON.stringify({ theme: "light", letters: 7, scrollback: 1e9, other: 1 });
  assert.deepEqual(load({ getItem: () => kept }), {
    theme: "light",
    letters: 0,
    scrollback: 1000,
    screenReader: false,
    blink: true,
  });
  assert.equal(load({ getItem: () => "{" }).theme, "system");
});

test("all that is served is under 150 KB compressed, and named", () => {
  const page = new URL("../../src/web/page/", import.meta.url);
  const lines = readFileSync(new URL("assets.txt", page), "utf8")
    .split("\n")
    .filter((line) => line && !line.startsWith("#"));
  const served = new Map(lines.map((line) => line.split(" ", 2)));
  const size = [...served.values()].reduce(
    (sum, file) => sum + gzipSync(readFileSync(new URL(file, page)), { level: 9 }).length,
    0,
  );
  assert.ok(size < 150_000, `${size} bytes`);
  for (const [name, file] of served) {
    if (file.startsWith("node_modules")) continue;
    const found = readFileSync(new URL(file, page), "utf8").matchAll(
      /(?:from|import) "\.\/([^"]+)"|(?:src|href)="\.\.\/([^"]+)"/g,
    );
    for (const [, module, url] of found)
      assert.ok(served.has(url ?? `assets/${module}`), `${name} needs ${url ?? module}`);
  }
});

/**
 * A connection with a gateway of the test's own, and a terminal that takes output when it is told
 * to.
 */
function connected(t, options = {}) {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const sockets = [];
  class Socket {
    readyState = 0;
    sent = [];
    constructor() {
      sockets.push(this);
    }
    send(data) {
      this.sent.push(data);
    }
    close() {
      this.readyState = 3;
    }
    open() {
      this.readyState = 1;
      this.onopen({});
    }
    says(message) {
      this.onmessage({ data: message instanceof ArrayBuffer ? message : JSON.stringify(message) });
    }
    /** What the page said, of a type. */
    said(type) {
      return this.sent
        .filter((data) => typeof data === "string")
        .map((data) => JSON.parse(data))
        .filter((message) => message.type === type);
    }
    typed() {
      return this.sent.filter((data) => typeof data !== "string").map(typed);
    }
    welcome(more = {}) {
      this.open();
      this.says({
        type: "welcome",
        scope: "session",
        access: "read-write",
        session: { id: ID, name: "build", title: "" },
      });
      this.says({
        type: "attached",
        session: ID,
        name: "build",
        columns: 80,
        rows: 24,
        offset: 0,
        resumed: false,
        ...more,
      });
    }
  }
  const told = [];
  const shown = [];
  const waiting = [];
  const sink = {
    write: (carried, done) => (shown.push(new TextDecoder().decode(carried)), waiting.push(done)),
    then: (action) => waiting.push(action),
    clear: () => shown.push("<clear>"),
    resize: (columns, rows) => shown.push(`<${columns}x${rows}>`),
  };
  const take = () => waiting.splice(0).forEach((done) => done());
  const connection = new Connection({
    url: () => "ws://test/ws",
    token: () => "AAAAAAAAAAAAAAAAAAA_-9",
    viewer: () => "0".repeat(32),
    scrollback: () => 1000,
    sink,
    tell: (what, detail) => told.push({ what, ...(typeof detail === "object" ? detail : { detail }) }),
    WebSocket: Socket,
    ...options,
  });
  const states = () => told.filter(({ what }) => what === "state").map(({ state }) => state);
  const last = () => sockets.at(-1);
  connection.start();
  return { connection, sockets, told, shown, states, take, last, tick: (time) => t.mock.timers.tick(time) };
}

test("a lost line is made again and goes on at the next byte", (t) => {
  const { sockets, shown, states, last, take, tick } = connected(t);
  last().welcome();
  assert.deepEqual(sockets[0].said("hello")[0].resume, null);
  last().says(binary(OUTPUT, 0, text("abc")));
  take();
  last().onclose({ code: 1006 });
  assert.equal(states().at(-1), "waiting");
  tick(0);
  last().welcome({ resumed: true, offset: 3 });
  assert.deepEqual(sockets[1].said("hello")[0].resume, { session: ID, offset: 3, after: "output" });
  last().says(binary(OUTPUT, 1, text("bcd")));
  assert.deepEqual(shown, ["<clear>", "<80x24>", "abc", "<80x24>", "d"]);
});

test("a hole in the output makes a new line, and no byte of it is shown", (t) => {
  const { sockets, shown, last, take, tick } = connected(t);
  last().welcome();
  last().says(binary(OUTPUT, 0, text("abc")));
  last().says(binary(OUTPUT, 5, text("far")));
  take();
  tick(0);
  assert.equal(sockets.length, 2);
  assert.ok(!shown.includes("far"));
});

test("a gateway that sends only holes is not asked without a pause", (t) => {
  const { sockets, last, tick } = connected(t);
  for (let attempt = 0; attempt < 10; attempt += 1) {
    last().welcome();
    last().says(binary(OUTPUT, 5, text("far")));
    tick(5000);
  }
  const before = sockets.length;
  last().welcome();
  last().says(binary(OUTPUT, 5, text("far")));
  tick(2000);
  assert.equal(sockets.length, before);
  tick(3000);
  last().welcome();
  tick(5000);
  last().onclose({ code: 1006 });
  tick(0);
  assert.equal(sockets.length, before + 2, "it stood, so the next attempt comes at once");
});

test("pauses grow while a gateway is away, and a woken page tries at once", (t) => {
  const { connection, sockets, last, tick } = connected(t);
  last().welcome();
  tick(10_000);
  for (let attempt = 0; attempt < 12; attempt += 1) {
    last().onclose({ code: 1006 });
    tick(5000);
  }
  assert.equal(sockets.length, 13);
  last().onclose({ code: 1006 });
  const before = sockets.length;
  tick(1);
  assert.equal(sockets.length, before, "it pauses");
  connection.wake();
  assert.equal(sockets.length, before + 1);
  last().onclose({ code: 1006 });
  tick(0);
  assert.equal(sockets.length, before + 2, "pauses begin again");
});

test("a link that is not valid, revoked, or ended is not tried again", (t) => {
  for (const code of [4001, 4002, 4003]) {
    const { sockets, told, last, tick } = connected(t);
    last().open();
    last().says({ type: "error", code: "link", text: "why" });
    last().onclose({ code });
    tick(60_000);
    assert.equal(sockets.length, 1);
    assert.deepEqual(told.at(-1), { what: "state", state: "over", code, text: "why" });
    t.mock.timers.reset();
  }
});

test("a session's end is told after its last output, and the line is not made again", (t) => {
  const { sockets, told, last, take, tick } = connected(t);
  last().welcome();
  last().says(binary(OUTPUT, 0, text("bye")));
  last().says({ type: "ended", status: { code: 3 }, text: "exit status 3" });
  last().onclose({ code: 4004 });
  assert.ok(!told.some(({ what }) => what === "ended"), "not before it is shown");
  take();
  assert.deepEqual(told.at(-1).status, { code: 3 });
  tick(60_000);
  assert.equal(sockets.length, 1);
});

test("a gap is told where it is, and output goes on after it", (t) => {
  const { told, shown, last, take } = connected(t);
  last().welcome();
  last().says({ type: "gap", from: 0, to: 1000 });
  last().says(binary(SCREEN, 1000, text("<screen>")));
  last().says(binary(OUTPUT, 1000, text("on")));
  take();
  assert.deepEqual(
    told.filter(({ what }) => what === "gap"),
    [{ what: "gap", bytes: 1000 }],
  );
  assert.deepEqual(shown.slice(-2), ["<screen>", "on"]);
});

test("only what the terminal took is acknowledged, on the line that brought it", (t) => {
  const { sockets, last, take, tick } = connected(t);
  last().welcome();
  for (let piece = 0; piece < 8; piece += 1)
    last().says(binary(OUTPUT, piece * 65536, new Uint8Array(65536)));
  tick(1000);
  assert.deepEqual(sockets[0].said("ack"), []);
  take();
  assert.equal(sockets[0].said("ack").at(-1).received, 8 * 65536);
  last().says(binary(OUTPUT, 8 * 65536, text("abc")));
  take();
  tick(250);
  assert.equal(sockets[0].said("ack").at(-1).received, 8 * 65536 + 3);
  last().says(binary(OUTPUT, 8 * 65536 + 3, new Uint8Array(65536)));
  last().onclose({ code: 1006 });
  tick(0);
  assert.equal(sockets.length, 1, "the next line waits for what the terminal has not taken");
  take();
  tick(20);
  last().welcome({ resumed: true, offset: 9 * 65536 + 3 });
  tick(1000);
  assert.deepEqual(sockets[1].said("ack"), []);
});

test("typing waits for a line, goes out once attached, and again on the next one", (t) => {
  const { connection, told, last, tick } = connected(t);
  assert.ok(connection.type(text("ls")));
  last().open();
  last().says({ type: "welcome", scope: "session", access: "read-write", session: null });
  assert.deepEqual(last().typed(), []);
  last().says({
    type: "attached",
    session: ID,
    name: "build",
    columns: 80,
    rows: 24,
    offset: 0,
    resumed: false,
  });
  const [first] = last().typed();
  assert.deepEqual([first.offset, new TextDecoder().decode(first.bytes)], [0, "ls"]);
  last().says({ type: "input", stream: first.stream, offset: 1 });
  connection.type(text("\r"));
  last().onclose({ code: 1012 });
  tick(0);
  last().welcome({ resumed: true });
  const again = last().typed();
  assert.deepEqual(
    again.map(({ offset }) => offset),
    [1, 2],
  );
  assert.ok(again.every(({ stream }) => stream === first.stream));
  assert.equal(told.at(-1).detail, 2);
});

test("a hidden page lets go of its line after a while, and is back at once", (t) => {
  const { connection, sockets, states, last, tick } = connected(t);
  last().welcome();
  connection.hide();
  tick(HIDDEN_FOR - 1);
  connection.wake();
  last().says({ type: "pong" });
  tick(HIDDEN_FOR);
  assert.equal(sockets[0].readyState, 1, "it was shown in time");
  connection.hide();
  tick(HIDDEN_FOR);
  assert.equal(sockets[0].readyState, 3);
  assert.equal(states().at(-1), "paused");
  tick(60_000);
  assert.equal(sockets.length, 1);
  connection.wake();
  assert.equal(sockets.length, 2);
});

test("a hidden page whose line is lost waits until it is shown", (t) => {
  const { connection, sockets, states, last, tick } = connected(t);
  last().welcome();
  connection.hide();
  last().onclose({ code: 1006 });
  assert.equal(states().at(-1), "paused");
  tick(60_000);
  assert.equal(sockets.length, 1);
  connection.wake();
  assert.equal(sockets.length, 2);
});

test("typing that is refused for good is not sent again", (t) => {
  const { connection, last, tick } = connected(t);
  last().welcome();
  connection.type(text("old"));
  last().says({ type: "error", code: "input", text: "what was typed is gone" });
  connection.type(text("new"));
  last().onclose({ code: 1006 });
  tick(0);
  last().welcome({ resumed: true });
  assert.deepEqual(
    last()
      .typed()
      .map(({ offset, bytes: piece }) => [offset, new TextDecoder().decode(piece)]),
    [[0, "new"]],
  );
});

test("an end that comes as a close code alone is an end", (t) => {
  const { sockets, told, last, take, tick } = connected(t);
  last().welcome();
  last().onclose({ code: 4004, reason: "" });
  take();
  assert.deepEqual([told.at(-1).what, told.at(-1).status], ["ended", null]);
  tick(60_000);
  assert.equal(sockets.length, 1);
});

test("the pictures that were wanted are asked for on the next line", (t) => {
  const { connection, last, tick } = connected(t);
  const welcome = () => {
    last().open();
    last().says({ type: "welcome", scope: "all", access: "read-only", session: null });
  };
  welcome();
  connection.watch([ID]);
  last().onclose({ code: 1006 });
  tick(0);
  welcome();
  assert.deepEqual(last().said("watch"), [{ type: "watch", sessions: [ID] }]);
});

test("a silent line is asked, and lost if it does not answer", (t) => {
  const { connection, sockets, last, tick } = connected(t);
  last().welcome();
  tick(15_000);
  assert.equal(last().said("ping").length, 1);
  last().says({ type: "pong" });
  tick(14_999);
  connection.type(text("x"));
  tick(2000);
  assert.equal(last().said("ping").length, 2, "sooner while an answer is awaited");
  tick(6000);
  tick(0);
  assert.equal(sockets.length, 2);
});

test("a page that cannot reach the gateway tries again after a while", (t) => {
  const { sockets, tick } = connected(t);
  tick(10_000);
  tick(0);
  assert.equal(sockets.length, 2);
});

test("on the owner's page, output of the session that was left is not shown in the next", (t) => {
  const { connection, shown, last, told } = connected(t);
  last().open();
  last().says({ type: "welcome", scope: "all", access: "read-write", session: null });
  last().says({ type: "sessions", sessions: [] });
  assert.equal(told.at(-1).what, "sessions");
  connection.open(ID);
  const attached = (session) => ({
    type: "attached",
    session,
    name: "n",
    columns: 80,
    rows: 24,
    offset: 0,
    resumed: false,
  });
  last().says(attached(ID));
  last().says(binary(OUTPUT, 0, text("first")));
  connection.open(null);
  connection.open(OTHER);
  last().says(binary(OUTPUT, 5, text("late")));
  last().says({ type: "title", title: "late" });
  last().says(attached(ID));
  last().says(binary(OUTPUT, 5, text("later")));
  last().says(attached(OTHER));
  last().says(binary(OUTPUT, 0, text("other")));
  assert.deepEqual(
    shown.filter((line) => !line.startsWith("<")),
    ["first", "other"],
  );
  assert.ok(!told.some(({ what }) => what === "title"));
  assert.deepEqual(
    last()
      .said("open")
      .map(({ session }) => session),
    [ID, OTHER],
  );
});

test("a size that was claimed is claimed again on the next line", (t) => {
  const { connection, last, tick } = connected(t);
  last().welcome();
  connection.claim({ columns: 100, rows: 30 });
  last().onclose({ code: 1006 });
  tick(0);
  last().welcome({ resumed: true });
  assert.deepEqual(last().said("claim"), [{ type: "claim", columns: 100, rows: 30 }]);
  connection.claim(null);
  assert.equal(last().said("follow").length, 1);
});
