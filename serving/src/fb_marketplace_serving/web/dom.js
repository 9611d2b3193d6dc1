// Elements.

export const find = (id) => document.getElementById(id);

export function element(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

export function button(label, onClick, className = "") {
  const node = element("button", { type: "button", className }, label);
  node.addEventListener("click", onClick);
  return node;
}

let hiding;

// Show a message for some seconds, and announce it.
export function toast(message) {
  const node = find("toast");
  clearTimeout(hiding);
  node.textContent = message;
  hiding = setTimeout(() => { node.textContent = ""; }, 5000);
}
