// A key through the page in a real browser: from keydown until the terminal's cell has changed. Prints the microseconds of
// each as JSON. Arguments: the link, how many keys.
import { Browser, unlock } from "../tests/web/browser.mjs";

const [url, keys] = process.argv.slice(2);
const browser = await Browser.start();
try {
  const page = await browser.open(url);
  await unlock(page);
  await page.evaluate(() => {
    const { terminal } = window.fugue.view;
    window.took = [];
    let pressed = null;
    let column = 0;
    addEventListener("keydown", () => {
      pressed = performance.now();
      column = terminal.buffer.active.cursorX + terminal.cols * terminal.buffer.active.cursorY;
    }, true);
    terminal.onWriteParsed(() => {
      const { cursorX, cursorY } = terminal.buffer.active;
      if (pressed === null || cursorX + terminal.cols * cursorY === column) return;
      window.took.push((performance.now() - pressed) * 1000);
      pressed = null;
    });
  });
  for (let key = 0; key < Number(keys); key += 1) {
    // A key is pressed once the one before is on the screen.
    await page.keyboard.press("x");
    await page.waitForFunction((count) => window.took.length === count, key + 1, { polling: 5 });
  }
  console.log(JSON.stringify(await page.evaluate(() => window.took)));
} finally {
  await browser.stop();
}
