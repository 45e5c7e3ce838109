// The terminal's colours in the dark and in the light. The page's own are in style.css.

const dark = {
  background: "#11141a",
  foreground: "#d7dce5",
  cursor: "#8fb8ff",
  cursorAccent: "#11141a",
  selectionBackground: "#33507f",
  overviewRulerBorder: "#11141a",
  black: "#2b313d",
  red: "#f07a85",
  green: "#8ccf7e",
  yellow: "#e5c76b",
  blue: "#7aa9f7",
  magenta: "#c694f5",
  cyan: "#67cbd8",
  white: "#c3cad6",
  brightBlack: "#7b879b",
  brightRed: "#ff9aa2",
  brightGreen: "#a9e69b",
  brightYellow: "#f6dc8d",
  brightBlue: "#a3c4ff",
  brightMagenta: "#dbb4ff",
  brightCyan: "#8fe3ee",
  brightWhite: "#f5f7fb",
};

const light = {
  background: "#fcfcfa",
  foreground: "#23272f",
  cursor: "#1d5fd1",
  cursorAccent: "#fcfcfa",
  selectionBackground: "#bcd4fa",
  overviewRulerBorder: "#fcfcfa",
  black: "#23272f",
  red: "#b3213a",
  green: "#27722f",
  yellow: "#8a5d00",
  blue: "#1d55bd",
  magenta: "#8430a8",
  cyan: "#0c6a75",
  white: "#5c6470",
  brightBlack: "#6a727f",
  brightRed: "#c9304a",
  brightGreen: "#2f8439",
  brightYellow: "#9c6c06",
  brightBlue: "#2a68d8",
  brightMagenta: "#9a44c0",
  brightCyan: "#127d8a",
  brightWhite: "#3a414c",
};

const prefersDark = matchMedia("(prefers-color-scheme: dark)");

/** Whether it is dark now: as the person chose, or else as the system says. */
export function isDark(choice) {
  return choice === "dark" || (choice !== "light" && prefersDark.matches);
}

export function terminalTheme(choice) {
  return isDark(choice) ? dark : light;
}

/** Calls when the system changes. */
export function onSystemTheme(action) {
  prefersDark.addEventListener("change", action);
}
