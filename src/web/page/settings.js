// What a person chose, kept in this browser: a screenful at most.

const KEY = "fugue:settings";

/** `letters`: 0 for as large as fit. */
const USUAL = { theme: "system", letters: 0, scrollback: 1000, screenReader: false, blink: true };

const VALUES = {
  theme: ["system", "dark", "light"],
  letters: [0, 10, 12, 14, 16, 18, 22],
  scrollback: [0, 1000, 5000, 10000],
  screenReader: [false, true],
  blink: [false, true],
};

/** The settings of this browser; those that are none are as usual. */
export function load(storage) {
  let kept = {};
  try {
    kept = JSON.parse(storage.getItem(KEY)) ?? {};
  } catch {
    // None are kept, or they are not ours.
  }
  const isValid = ([name, value]) => VALUES[name]?.includes(value);
  return { ...USUAL, ...Object.fromEntries(Object.entries(kept).filter(isValid)) };
}

/** Keeps them, where the browser allows. */
export function save(storage, settings) {
  try {
    storage.setItem(KEY, JSON.stringify(settings));
  } catch {
    // They last as long as the page.
  }
}

/**
 * Shows the settings in a form, and tells what a person changes: a control's name is the setting's.
 */
export function bind(form, settings, changed) {
  for (const control of form.querySelectorAll("[name]")) {
    const { name } = control;
    if (control.type === "checkbox") control.checked = settings[name];
    else control.value = String(settings[name]);
    control.addEventListener("change", () => {
      const value = control.type === "checkbox" ? control.checked : control.value;
      settings[name] = VALUES[name].find((one) => String(one) === String(value));
      changed();
    });
  }
}
