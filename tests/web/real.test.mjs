// The page in a real browser, with the gateway and the server that ship.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { gunzipSync } from "node:zlib";
import { Browser, expected, flood, hidden, picture, shows, textOf, unlock, until, visible } from "./browser.mjs";
import { RealGateway } from "./real.mjs";

let browser;
let gateway;
let session;

before(async () => (browser = await Browser.start()));
after(() => browser.stop());
beforeEach(async () => {
  gateway = await RealGateway.start({ server: ["--history", "1MiB"] });
  session = await gateway.add("build");
});
afterEach(async () => {
  await browser.leave();
  await gateway.stop();
});

/**
 * What a terminal shows, as one text: blanks at the ends of lines and lines below the last do not
 * count.
 */
const trimmed = (lines) =>
  lines
    .map((line) => line.trimEnd())
    .join("\n")
    .trimEnd();

/** The lines of the screen alone. */
const screenOf = async (page, rows) => trimmed((await textOf(page)).slice(-rows));

test("what is printed is what the page shows, live and late, and the token leaves the address", async () => {
  const printed = `\x1b]0;a title\x07\x1b[1;31mred\x1b[m ${"wide 日本語 ".repeat(9)}\r\n${flood(200)}\x1b[5A\x1b[Kup\x1b[5B\rdone`;
  const url = await gateway.share(session);
  const live = await browser.open(url);
  await session.watchedBy(1);
  await session.print(printed);
  await shows(live, "done");
  const late = await browser.open(url);
  await shows(late, "done");
  const wanted = trimmed(await expected([printed]));
  assert.equal(trimmed(await textOf(live)), wanted);
  assert.equal(trimmed(await textOf(late)), wanted);
  for (const page of [live, late]) {
    assert.equal(page.url(), `${gateway.origin}/s/`);
    await until(async () => (await page.title()) === `a title — ${session.name}`, "the title");
  }
});

test("recordings of real programs end as any terminal shows them, live and late", async () => {
  const corpus = new URL("../terminals/corpus/", import.meta.url);
  const names = readdirSync(corpus).filter((name) => /^(bash|htop|less|nvim|tmux|mc)-80x24/.test(name));
  assert.ok(names.length > 4);
  for (const name of names) {
    const recording = gunzipSync(readFileSync(new URL(name, corpus)));
    const player = await gateway.add(name.replace(/\.gz$/, ""));
    const url = await gateway.share(player);
    const live = await browser.open(url);
    await player.watchedBy(1);
    await player.print(recording);
    const wanted = trimmed((await expected([recording])).slice(-24));
    await until(async () => (await screenOf(live, 24)) === wanted, `${name}, live`);
    const late = await browser.open(url, { colorScheme: "dark" });
    await until(async () => (await screenOf(late, 24)) === wanted, `${name}, late`);
    await picture(late, `recording-${name.split("-")[0]}`);
    await browser.leave();
  }
});

/** Keeps all output that a page's lines bring, with its offset. */
function keepOutput() {
  window.output = [];
  window.WebSocket = class extends WebSocket {
    constructor(url) {
      super(url);
      this.addEventListener("message", ({ data }) => {
        if (typeof data === "string" || new Uint8Array(data)[0] !== 0) return;
        const offset = Number(new DataView(data).getBigUint64(1, true));
        window.output.push([offset, new TextDecoder("latin1").decode(new Uint8Array(data, 9))]);
      });
    }
  };
}

const hash = (text) => createHash("sha256").update(text).digest("hex");

test("a gateway killed in a flood, again and again, costs no byte and brings none twice", async () => {
  const url = await gateway.share(session);
  const pages = [];
  for (let at = 0; at < 10; at += 1) pages.push(await browser.open(url, { script: keepOutput }));
  await session.watchedBy(10);
  const parts = Array.from({ length: 4 }, (_, at) => `${at}`.repeat(60_000));
  for (const part of parts) {
    await session.print(part);
    await gateway.killWeb();
    await gateway.startWeb();
  }
  const printed = `${parts.join("")}done`;
  await session.print("done");
  const wanted = trimmed(await expected([printed]));
  for (const page of pages) {
    await shows(page, "done");
    let output = "";
    for (const [offset, text] of await page.evaluate(() => window.output)) {
      assert.equal(offset, output.length);
      output += text;
    }
    assert.equal(hash(output), hash(printed));
    assert.equal(trimmed(await textOf(page)), wanted);
  }
});

test("a page that was away for longer than the history is told how much it missed", async () => {
  const page = await browser.open(await gateway.share(session));
  await session.watchedBy(1);
  await session.print("before\r\n");
  await shows(page, "before");
  await page.context().setOffline(true);
  await gateway.killWeb();
  await visible(page, "#line");
  await session.print(`${flood(40_000)}the end`);
  await until(async () => (await session.info()).printed_bytes > 4_000_000, "all is printed");
  await gateway.startWeb();
  await page.context().setOffline(false);
  await shows(page, "the end");
  await visible(page, "#gap");
  assert.match(
    await page.textContent("#gap .text"),
    /^\d\.\d MB of output was missed\. The screen below is current\.$/,
  );
  await picture(page, "real-gap");
});

test("the program's end is shown after its last output, with its exit status", async () => {
  const page = await browser.open(await gateway.share(session, "--write"));
  await session.watchedBy(1);
  await session.print("last words");
  await session.finish(3);
  await visible(page, "#end");
  assert.equal(await page.textContent("#end .text"), "The session has ended: exit status 3.");
  await shows(page, "last words");
  await hidden(page, "#viewers");
  await picture(page, "real-end");
});

test("what two pages type arrives once, though the gateway is killed meanwhile", async () => {
  const url = await gateway.share(session, "--write");
  const pages = [await browser.open(url), await browser.open(url)];
  for (const page of pages) await unlock(page);
  for (let round = 0; round < 3; round += 1) {
    await Promise.all(pages.map((page, at) => page.keyboard.type(`${"ab"[at]}${round}`)));
    await gateway.killWeb();
    await Promise.all(pages.map((page, at) => page.keyboard.type(`${"AB"[at]}`)));
    await gateway.startWeb();
  }
  await until(async () => (await session.typed).length >= 18, "all is typed");
  const typed = (await session.typed).toString();
  assert.equal(typed.length, 18, typed);
  for (const letter of "abAB") assert.equal(typed.split(letter).length - 1, 3, typed);
});

test("a link to watch types nothing, whatever the page says", async () => {
  const page = await browser.open(await gateway.share(session));
  await visible(page, "#access");
  await page.evaluate(() => window.fugue.connection.type(new TextEncoder().encode("typed")));
  await until(
    async () =>
      page.evaluate(
        () => document.body.dataset.state !== "live" || !document.querySelector("#notice").hidden,
      ),
    "it is refused",
  );
  assert.equal((await session.typed).length, 0);
});

test("a link that is revoked ends its viewers at once, and is refused afterwards", async () => {
  const url = await gateway.share(session);
  const page = await browser.open(url);
  await session.watchedBy(1);
  await gateway.run("unshare", "--all");
  await visible(page, "#message");
  await session.watchedBy(0);
  const again = await browser.open(url);
  await visible(again, "#message");
  assert.equal(await again.textContent("#message h2"), "This link is not valid");
});

test("the session takes the size of a window that asks for it, and others follow", async () => {
  const url = await gateway.share(session, "--write");
  const [page, other] = [await browser.open(url), await browser.open(url)];
  await session.watchedBy(2);
  await visible(page, "#fit");
  await page.click("#fit");
  await until(async () => (await session.info()).size !== "80x24", "the size is claimed");
  const [columns, rows] = (await session.info()).size.split("x");
  const size = (one) =>
    one.evaluate(() => [window.fugue.view.terminal.cols, window.fugue.view.terminal.rows]);
  for (const one of [page, other])
    await until(async () => `${await size(one)}` === `${columns},${rows}`, "the page follows");
});

test("a page that hides lets go, and is current when it is shown again", async () => {
  const page = await browser.open(await gateway.share(session));
  await session.watchedBy(1);
  await page.clock.install();
  const hide = (isHidden) =>
    page.evaluate((isHidden) => {
      Object.defineProperty(document, "hidden", { configurable: true, get: () => isHidden });
      document.dispatchEvent(new Event("visibilitychange"));
    }, isHidden);
  await hide(true);
  await page.clock.fastForward(10_100);
  await session.watchedBy(0);
  await session.print("meanwhile");
  await page.clock.resume();
  await hide(false);
  await shows(page, "meanwhile");
});

test("an interrupt ends a flood on a slow line, and what follows is shown soon", async () => {
  const loud = "loud";
  await gateway.run(
    "new",
    "-d",
    loud,
    "--",
    "sh",
    "-c",
    "trap 'echo stopped' INT; read go; yes flood; exec cat",
  );
  const page = await browser.open(await gateway.share({ name: loud }, "--write"));
  await unlock(page);
  const devtools = await page.context().newCDPSession(page);
  const slow = { offline: false, latency: 50, downloadThroughput: 100_000, uploadThroughput: 100_000 };
  await devtools.send("Network.emulateNetworkConditions", slow);
  await page.keyboard.press("Enter");
  await shows(page, "flood");
  await page.keyboard.press("Control+c");
  await shows(page, "stopped");
});

test("the owner sees all sessions live, opens one, starts one and ends one", async () => {
  await session.print("\x1b[32mcompiling\x1b[m a crate\r\n".repeat(10));
  const page = await browser.open(await gateway.share(null, "--write"), { colorScheme: "dark" });
  const card = page.locator(`#cards li`, { has: page.getByText(session.name, { exact: true }) });
  await card.waitFor();
  await card.locator("canvas").evaluate((canvas) => canvas.scrollIntoView());
  const colours = () =>
    card.locator("canvas").evaluate((canvas) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width || 1, canvas.height || 1);
      return new Set(new Uint32Array(data.buffer)).size;
    });
  await until(async () => (await colours()) > 3, "its picture");
  await picture(page, "real-index");
  await card.locator(".open").click();
  await shows(page, "compiling");
  await page.click("#back");
  await page.fill("[name=name]", "started");
  await page.fill("[name=command]", "sh -c 'echo from the page; cat'");
  await page.keyboard.press("Enter");
  await shows(page, "from the page");
  await page.click("#back");
  await page.getByRole("button", { name: "End started" }).click();
  await page.getByRole("button", { name: "End it" }).click();
  await until(
    async () => (await gateway.list()).every(({ name, running }) => name !== "started" || !running),
    "it ends",
  );
});
