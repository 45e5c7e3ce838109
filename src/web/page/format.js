// Numbers and text as a person reads them.

const UNITS = ["B", "KB", "MB", "GB", "TB"];

/** So many bytes: `1.5 MB`. */
export function bytes(count) {
  let unit = 0;
  while (count >= 999.5 && unit < UNITS.length - 1) {
    count /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || count >= 9.95 ? 0 : 1;
  return `${count.toFixed(digits)} ${UNITS[unit]}`;
}

/** So many seconds: `now`, `12 s`, `3 min`, `2 h`, `5 d`. */
export function ago(seconds) {
  if (seconds < 2) return "now";
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

/** `1 viewer`, `2 viewers`. */
export function counted(count, one, many = `${one}s`) {
  return `${count} ${count === 1 ? one : many}`;
}

/**
 * A title that a program chose: one line of text, without what changes the direction or look of the
 * text around it.
 */
export function title(text, longest = 200) {
  const line = String(text)
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, " ")
    .trim();
  return line.length > longest ? `${line.slice(0, longest - 1)}…` : line;
}

/**
 * The words of a command line, with quotes and backslashes as a shell reads them. Null if a quote
 * is not closed.
 */
export function words(line) {
  const found = [];
  let word = null;
  let quote = null;
  for (let at = 0; at < line.length; at += 1) {
    const character = line[at];
    if (character === quote) {
      quote = null;
    } else if (character === "\\" && quote !== "'" && at + 1 < line.length) {
      at += 1;
      word = (word ?? "") + line[at];
    } else if (quote === null && (character === "'" || character === '"')) {
      quote = character;
      word ??= "";
    } else if (quote === null && /\s/.test(character)) {
      if (word !== null) found.push(word);
      word = null;
    } else {
      word = (word ?? "") + character;
    }
  }
  if (word !== null) found.push(word);
  return quote === null ? found : null;
}
