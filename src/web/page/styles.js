// xterm.js without inline styles, so that the page's policy needs no `unsafe-inline`.
//
// It writes what its theme asks for into `<style>` elements, and the colours of a cell into `style`
// attributes. A strict Content-Security-Policy drops both silently. A constructed style sheet and
// the CSSOM may do the same: the page was trusted already to run the code that does it. To be
// imported before a terminal is opened. Nothing else of the page makes such elements or attributes.

/** Stands in for a `<style>` element: what is written into it goes to a sheet of the document. */
function styleElement() {
  const sheet = new CSSStyleSheet();
  const element = document.createElement("template");
  document.adoptedStyleSheets.push(sheet);
  Object.defineProperty(element, "textContent", { set: (text) => sheet.replaceSync(text) });
  element.remove = () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((one) => one !== sheet);
    Element.prototype.remove.call(element);
  };
  return element;
}

document.createElement = function createElement(name, options) {
  return name === "style" ? styleElement() : Document.prototype.createElement.call(this, name, options);
};

HTMLSpanElement.prototype.setAttribute = function setAttribute(name, value) {
  if (name === "style") this.style.cssText = value;
  else Element.prototype.setAttribute.call(this, name, value);
};
