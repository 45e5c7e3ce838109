// The page in a real browser, with a gateway that does to it what happens to lines: see mock.mjs.
import assert from "node:assert/strict";
import { after, before, beforeEach, afterEach, test } from "node:test";
import {
  Browser,
  expected,
  flood,
  hidden,
  picture,
  shows,
  textOf,
  unlock,
  until,
  visible,
} from "./browser.mjs";
import { MockGateway } from "./mock.mjs";

let browser;
let gateway;
let session;

before(async () => (browser = await Browser.start()));
after(() => browser.stop());
beforeEach(async () => {
  gateway = await MockGateway.start();
  session = gateway.add("build", "cargo build");
});
afterEach(async () => {
  await browser.leave();
  await gateway.stop();
});

test("the screen is what any terminal shows that was given the same bytes", async () => {
  const printed = `\x1b]0;a title\x07\x1b[1;31mred\x1b[m ${"wide 日本語 ".repeat(12)}\r\n${flood(300)}\x1b[5A\x1b[Kup\x1b[5B\rdone`;
  session.print(printed.slice(0, 9000));
  const page = await browser.open(gateway.share(session));
  await shows(page, "wide");
  session.print(printed.slice(9000));
  await shows(page, "done");
  assert.deepEqual(await textOf(page), await expected([session.screen]));
  assert.equal(await page.title(), "a title — build");
  assert.equal(page.url(), `${gateway.origin}/s/`, "the token has left the address");
});

test("a size that changes in the middle of output changes there", async () => {
  const page = await browser.open(gateway.share(session));
  await shows(page, "");
  const steps = [session.screen, flood(60), [61, 20], flood(60), [132, 50], `${flood(60)}done`];
  for (const step of steps.slice(1)) {
    if (Array.isArray(step)) session.resize(...step);
    else session.print(step);
  }
  await shows(page, "done");
  assert.deepEqual(await textOf(page), await expected(steps));
});

test("a line cut in the middle of a flood, again and again, loses and repeats nothing", async () => {
  const page = await browser.open(gateway.share(session));
  await visible(page, "#session");
  await until(() => session.viewers.size === 1, "it watches");
  let sent = 0;
  gateway.cut = ({ socket }) => (sent += 1) % 23 === 0 && socket.terminate();
  const printed = `${flood(20_000)}done`;
  session.print(printed);
  await shows(page, "done");
  assert.deepEqual(await textOf(page), await expected([printed]));
  const resumed = gateway.heard.filter(({ type, resume }) => type === "hello" && resume);
  assert.ok(resumed.length > 3, `${resumed.length} lines`);
});

test("at most the window is sent ahead of a page, and what it took is acknowledged", async () => {
  const page = await browser.open(gateway.share(session));
  await until(() => session.viewers.size === 1, "it watches");
  session.print(`${flood(40_000)}done`);
  await shows(page, "done");
  await until(
    () => gateway.heard.findLast(({ type }) => type === "ack")?.received >= session.end,
    "all is acknowledged",
  );
  assert.ok(gateway.mostAhead < 512 * 1024 + 16384 + 200, `${gateway.mostAhead}`);
});

test("a gap is told with its bytes, and the screen stands for them", async () => {
  session.print("before\r\n");
  const page = await browser.open(gateway.share(session));
  await shows(page, "before");
  // While the page is away, what it would need next is let go of.
  await page.context().setOffline(true);
  gateway.drop();
  await visible(page, "#line");
  await picture(page, "reconnecting");
  session.print(flood(3000));
  session.held = session.end;
  session.print("what is left\r\n");
  const missed = session.end - "before\r\n".length;
  await page.context().setOffline(false);
  await shows(page, "what is left");
  await visible(page, "#gap");
  assert.equal(
    await page.textContent("#gap .text"),
    `${Math.round(missed / 1000)} KB of output was missed. The screen below is current.`,
  );
  await hidden(page, "#line");
  await picture(page, "gap");
  await page.click("#gap .act");
  await hidden(page, "#gap");
});

test("the end is told after the last output, with the exit status", async () => {
  session.print("last words\r\n");
  const page = await browser.open(gateway.share(session, "read-write"));
  await shows(page, "last words");
  session.print("error: it failed\r\n");
  session.finish(101);
  await visible(page, "#end");
  assert.equal(await page.textContent("#end .text"), "The session has ended: exit status 101.");
  await hidden(page, "#lock");
  await shows(page, "error: it failed");
  await picture(page, "end");
  assert.equal(gateway.heard.filter(({ type }) => type === "hello").length, 1, "it does not come back");
});

test("nothing is typed before a click unlocks it, and nothing with a link to watch", async () => {
  const page = await browser.open(gateway.share(session, "read-write"));
  await visible(page, "#lock");
  await page.click("#frame");
  await page.keyboard.type("rm -rf");
  await visible(page, "#hint");
  await page.evaluate(() => window.fugue.view.paste("pasted"));
  await unlock(page);
  await page.keyboard.type("ls");
  await page.keyboard.press("Enter");
  await until(() => session.typed.toString() === "ls\r", "it is typed");
  await page.keyboard.press("Control+Shift+Space");
  await page.keyboard.type("more");
  await page.keyboard.press("Control+Shift+Space");
  await page.keyboard.press("Control+c");
  await until(() => session.typed.toString() === "ls\r\x03", `it is typed: ${session.typed}`);

  const watcher = await browser.open(gateway.share(session));
  await visible(watcher, "#access");
  await watcher.click("#frame");
  await watcher.keyboard.type("x");
  await watcher.keyboard.press("Control+Shift+Space");
  await watcher.keyboard.type("x");
  assert.equal(await watcher.isVisible("#lock"), false);
  assert.equal(session.typed.toString(), "ls\r\x03");
});

test("what two pages type arrives once, though lines are cut and answers are lost", async () => {
  const pages = [];
  for (const name of ["a", "b"]) {
    const page = await browser.open(gateway.share(session, "read-write"));
    await unlock(page);
    pages.push({ page, name });
  }
  gateway.keepsAnswers = true;
  for (let round = 0; round < 6; round += 1) {
    await Promise.all(pages.map(({ page, name }) => page.keyboard.type(`${name}${round}`)));
    await until(() => session.typed.length >= 2 * (round + 1), "some is typed");
    gateway.drop();
  }
  gateway.keepsAnswers = false;
  const of = (name) => session.typed.toString().replaceAll(new RegExp(`[^${name}0-9]`, "g"), "");
  await until(() => session.typed.length === 24, `all is typed: ${session.typed}`);
  for (const { name } of pages) assert.equal((of(name).match(new RegExp(name, "g")) ?? []).length, 6);
});

test("a large paste arrives whole, in brackets if the program asked for them", async () => {
  session.print("\x1b[?2004h$ ");
  const page = await browser.open(gateway.share(session, "read-write"));
  await shows(page, "$");
  await unlock(page);
  const pasted = "line\n".repeat(50_000);
  await page.evaluate((text) => window.fugue.view.paste(text), pasted);
  const typed = `\x1b[200~${pasted.replaceAll("\n", "\r")}\x1b[201~`;
  await until(() => session.typed.length >= typed.length, "it is typed");
  assert.ok(session.typed.equals(Buffer.from(typed)));
});

test("a page whose network is gone in a flood comes back to every byte", async () => {
  const page = await browser.open(gateway.share(session));
  await until(() => session.viewers.size === 1, "it watches");
  const printed = `${flood(30_000)}done`;
  session.print(printed.slice(0, 400_000));
  await page.context().setOffline(true);
  gateway.isDeaf = true;
  await visible(page, "#line");
  session.print(printed.slice(400_000));
  gateway.isDeaf = false;
  await page.context().setOffline(false);
  await shows(page, "done");
  assert.deepEqual(await textOf(page), await expected([printed]));
});

test("a hidden page lets go of its line, and one that is shown again is current at once", async () => {
  const page = await browser.open(gateway.share(session));
  await until(() => session.viewers.size === 1, "it watches");
  await page.clock.install();
  const hide = (isHidden) =>
    page.evaluate((isHidden) => {
      Object.defineProperty(document, "hidden", { configurable: true, get: () => isHidden });
      document.dispatchEvent(new Event("visibilitychange"));
    }, isHidden);
  await hide(true);
  await page.clock.fastForward(9_900);
  assert.equal(session.viewers.size, 1);
  await page.clock.fastForward(200);
  await until(() => session.viewers.size === 0, "it lets go");
  session.print(flood(50));
  await page.clock.resume();
  await hide(false);
  session.print("shown");
  await shows(page, "shown");
  assert.deepEqual(await textOf(page), await expected([session.log]));
});

test("a page that was left for another and is gone back to watches on", async () => {
  const page = await browser.open(gateway.share(session));
  session.print("one ");
  await shows(page, "one");
  await page.goto("about:blank");
  await until(() => session.viewers.size === 0, "it lets go");
  session.print("two ");
  await page.goBack();
  await shows(page, "one two");
});

test("output cannot write the clipboard or open what is not the web, and titles are text", async () => {
  const page = await browser.open(gateway.share(session), {
    permissions: ["clipboard-read", "clipboard-write"],
  });
  await page.evaluate(() => navigator.clipboard.writeText("mine"));
  session.title = "<img src=x onerror=alert(1)>\u202e";
  session.print("\x1b]52;c;dGhlaXJz\x07\x1b]0;<b>bold</b>\u202e\x07");
  session.print(
    "\x1b]8;;javascript:alert(1)\x07bad\x1b]8;;\x07 \x1b]8;;https://example.com/a%20b\x07good\x1b]8;;\x07 end",
  );
  await shows(page, "end");
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), "mine");
  assert.equal(await page.textContent("#title"), "<b>bold</b>");
  const cell = await page.locator(".xterm-rows > div").first().boundingBox();
  const width = cell.width / 80;
  await page.mouse.move(cell.x + 1.5 * width, cell.y + 5);
  await visible(page, "#target");
  await page.mouse.click(cell.x + 1.5 * width, cell.y + 5);
  await visible(page, "#follow");
  assert.equal(await page.textContent("#follow output"), "javascript:alert(1)");
  assert.equal(await page.isVisible("#follow a"), false);
  await page.keyboard.press("Escape");
  await page.mouse.move(cell.x + 5.5 * width, cell.y + 5);
  await page.mouse.click(cell.x + 5.5 * width, cell.y + 5);
  await visible(page, "#follow a");
  assert.equal(await page.getAttribute("#follow a", "href"), "https://example.com/a%20b");
  await picture(page, "link");
});

test("a link that is not valid says so and is not tried again", async () => {
  const page = await browser.open(`${gateway.origin}/s/#${"A".repeat(22)}`);
  await visible(page, "#message");
  assert.equal(await page.textContent("#message h2"), "This link is not valid");
  await picture(page, "invalid");
  const bare = await browser.open(`${gateway.origin}/s/`);
  assert.equal(await bare.textContent("#message h2"), "A link is needed");
  assert.equal(gateway.heard.length, 1);
});

test("a link that is revoked says so while it is watched", async () => {
  const page = await browser.open(gateway.share(session));
  await until(() => session.viewers.size === 1, "it watches");
  gateway.drop(4003);
  await visible(page, "#message");
  assert.equal(await page.textContent("#message h2"), "This link is no longer valid");
});

test("a reload keeps the link and who views, and another tab has neither", async () => {
  const page = await browser.open(gateway.share(session));
  session.print("here");
  await shows(page, "here");
  await page.reload();
  await shows(page, "here");
  const [first, second] = gateway.heard.filter(({ type }) => type === "hello");
  assert.deepEqual([second.token, second.viewer], [first.token, first.viewer]);
  const bare = await browser.open(`${gateway.origin}/s/`);
  await visible(bare, "#message");
});

test("the whole screen is seen in any window, and fits it on request", async () => {
  session.resize(200, 60);
  session.print(`${"x".repeat(200)}corner\x1b[60;194Hcorner`);
  const page = await browser.open(gateway.share(session, "read-write"));
  await shows(page, "corner");
  for (const [width, height] of [
    [1100, 720],
    [500, 900],
    [2000, 500],
    [420, 700],
  ]) {
    await page.setViewportSize({ width, height });
    await until(async () => {
      const screen = await page.locator(".xterm-screen").boundingBox();
      const room = await page.locator("#session").boundingBox();
      return (
        screen.width <= room.width &&
        screen.height <= room.height &&
        Math.max(screen.width / room.width, screen.height / room.height) > 0.8
      );
    }, `it fits ${width}x${height}`);
  }
  await page.setViewportSize({ width: 1100, height: 720 });
  await page.click("#fit");
  await until(() => session.columns !== 200, "the size is claimed");
  const claimed = session.columns;
  await page.setViewportSize({ width: 800, height: 720 });
  await until(() => session.columns < claimed, "it follows the window");
  await page.click("#fit");
  await until(() => gateway.heard.some(({ type }) => type === "follow"), "it is given back");
});

test("on a phone there is a row of keys, and no keyboard before it is wanted", async () => {
  session.print(`${flood(10)}$ `);
  const phone = {
    viewport: { width: 390, height: 760 },
    deviceScaleFactor: 2,
    isMobile: true,
    hasTouch: true,
    colorScheme: "dark",
  };
  const page = await browser.open(gateway.share(session, "read-write"), phone);
  await shows(page, "$");
  assert.equal(await page.isVisible("#keys"), false);
  await page.tap("#frame");
  assert.equal(await page.getAttribute(".xterm-helper-textarea", "inputmode"), "none");
  await page.tap("#lock");
  await visible(page, "#keys");
  for (const key of ["escape", "tab", "up", "control"]) await page.tap(`[data-key=${key}]`);
  await page.keyboard.type("c");
  await page.keyboard.type("c");
  await until(
    () => session.typed.toString() === "\x1b\t\x1b[A\x03c",
    `it is typed: ${JSON.stringify(session.typed.toString())}`,
  );
  await picture(page, "phone");
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(wide <= 390, `${wide}`);
});

test("a finger scrolls, and in a program that has the whole screen it turns the wheel", async () => {
  session.print(flood(200));
  const phone = { viewport: { width: 390, height: 760 }, isMobile: true, hasTouch: true };
  const page = await browser.open(gateway.share(session, "read-write"), phone);
  await shows(page, "199 ");
  const line = () => page.evaluate(() => window.fugue.view.terminal.buffer.active.viewportY);
  const bottom = await line();
  const devtools = await page.context().newCDPSession(page);
  const swipe = async (distance) => {
    const { x, y } = await page.locator(".xterm-screen").boundingBox();
    const finger = (type, at) =>
      devtools.send("Input.dispatchTouchEvent", {
        type,
        touchPoints: at === null ? [] : [{ x: x + 50, y: y + 50 + at }],
      });
    await finger("touchStart", 0);
    for (let step = 1; step <= 10; step += 1) await finger("touchMove", (distance * step) / 10);
    await finger("touchEnd", null);
  };
  await swipe(150);
  await until(async () => (await line()) <= bottom - 10, "it scrolls up");
  await unlock(page);
  session.print("\x1b[?1049h\x1b[?1000;1006hwhole screen");
  await shows(page, "whole screen");
  await swipe(150);
  await until(() => session.typed.toString().startsWith("\x1b[<64;"), "the wheel is turned");
});

test("what is selected is copied, and nothing else is", async () => {
  session.print("some text\r\n");
  const permissions = ["clipboard-read", "clipboard-write"];
  const page = await browser.open(gateway.share(session, "read-write"), { permissions });
  await shows(page, "some text");
  const { x, y } = await page.locator(".xterm-screen").boundingBox();
  for (const [isUnlocked, keys] of [
    [false, "Control+c"],
    [false, "Control+Shift+C"],
    [true, "Control+Shift+C"],
  ]) {
    if (isUnlocked) await unlock(page);
    await page.evaluate(() => navigator.clipboard.writeText("before"));
    await page.mouse.dblclick(x + 5, y + 8);
    await page.keyboard.press(keys);
    await until(
      async () => (await page.evaluate(() => navigator.clipboard.readText())) === "some",
      `${keys} copies`,
    );
  }
  assert.equal(session.typed.toString(), "");
});

test("it is used by keyboard, and described to a screen reader", async () => {
  session.print("text to read\r\n");
  const page = await browser.open(gateway.share(session, "read-write"));
  await shows(page, "text to read");
  const reached = [];
  for (let press = 0; press < 6; press += 1) {
    await page.keyboard.press("Tab");
    reached.push(await page.evaluate(() => document.activeElement.id || document.activeElement.className));
  }
  for (const id of ["fit", "lock", "gear"]) assert.ok(reached.includes(id), `${reached}`);
  await page.focus("#gear");
  await page.keyboard.press("Enter");
  await visible(page, "#settings");
  await page.getByLabel("For a screen reader").check();
  await page.keyboard.press("Escape");
  await page.locator(".xterm-accessibility").getByText("text to read").first().waitFor({ state: "attached" });
  const unnamed = await page.evaluate(() =>
    [...document.querySelectorAll("button, input, select, a")]
      .filter((one) => !one.textContent.trim() && !one.ariaLabel && !one.labels?.length)
      .map((one) => one.outerHTML),
  );
  assert.deepEqual(unnamed, []);
  await page.reload();
  await page.locator(".xterm-accessibility").getByText("text to read").first().waitFor({ state: "attached" });
});

test("the owner sees every session, opens one, goes back, starts one and ends one", async () => {
  session.print("\x1b[32mcompiling\x1b[m a crate\r\n".repeat(10));
  const other = gateway.add("notes", "vim notes.md");
  other.print(`\x1b[44;97m notes.md \x1b[m\r\n${"~\r\n".repeat(20)}`);
  const page = await browser.open(gateway.share(null, "read-write"), { colorScheme: "dark" });
  await page.locator("#cards li").nth(1).waitFor();
  await until(
    () => gateway.heard.findLast(({ type }) => type === "watch")?.sessions.length === 2,
    "both are visible",
  );
  // A picture has pixels of more than one colour.
  await page.waitForFunction(() => {
    const colours = (canvas) =>
      canvas.width > 0 &&
      new Set(
        new Uint32Array(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer),
      ).size > 3;
    return [...document.querySelectorAll("#cards canvas")].every(colours);
  });
  await picture(page, "index");
  await page.getByRole("button", { name: /^notes/ }).click();
  await shows(page, "notes.md");
  assert.equal(page.url(), `${gateway.origin}/s/#/${other.id}`);
  await page.reload();
  await shows(page, "notes.md");
  await page.click("#back");
  await visible(page, "#index");
  await page.goBack();
  await shows(page, "notes.md");
  await page.goBack();
  await visible(page, "#index");
  await page.fill("[name=name]", "third");
  await page.fill("[name=command]", "sh -c 'echo hi'");
  await page.keyboard.press("Enter");
  await visible(page, "#session");
  assert.deepEqual(gateway.heard.findLast(({ type }) => type === "new").command, ["sh", "-c", "echo hi"]);
  await page.click("#back");
  await page.getByRole("button", { name: "End notes" }).click();
  await page.getByRole("button", { name: "End it" }).click();
  await page.getByText("exit status 143").waitFor();
  assert.ok(other.ended);
});

test("the owner's page watches what is seen, and without write access starts and ends nothing", async () => {
  for (let at = 0; at < 40; at += 1) gateway.add(`session ${at}`);
  const page = await browser.open(gateway.share(null));
  await page.locator("#cards li").nth(40).waitFor();
  await until(
    () => gateway.heard.some(({ type, sessions }) => type === "watch" && sessions.length > 0),
    "some are watched",
  );
  const watched = gateway.heard.findLast(({ type }) => type === "watch").sessions;
  assert.ok(watched.length < 20 && watched.includes(session.id), `${watched.length}`);
  assert.equal(await page.isVisible("#new"), false);
  assert.equal(await page.locator(".end:visible").count(), 0);
});

test("a gateway below another address serves the page as well", async () => {
  const below = await MockGateway.start("/below/here/");
  const here = below.add("here");
  here.print("served below");
  const page = await browser.open(below.share(here));
  await shows(page, "served below");
  await browser.leave();
  await below.stop();
});
