// The score of a listing taken apart: what each feature adds, as bars that add up to it.

import { element } from "./listings.js";

const FIRST = 12; // reasons with a bar of their own

const SOURCES = {
  bm25: "its words",
  text: "what it means",
  text_to_image: "what the words look like",
  image: "the photo",
  multimodal: "the photo and the words together",
};

const round = (value) => Math.round(value * 100) / 100;

// Write an amount with its sign: +0.42, −0.10.
export function signed(value) {
  const digits = Math.abs(value).toFixed(2);
  return `${value < 0 && Number(digits) ? "−" : "+"}${digits}`;
}

// Give what is to be shown of a hit that has its why.
export function explanation({ score, places, why }) {
  const reasons = why.reasons.filter(({ adds }) => adds !== 0);
  const first = reasons.slice(0, FIRST);
  const rows = [
    { says: "where every listing starts", adds: round(why.base) },
    ...first.map(({ says, adds }) => ({ says, adds: round(adds) })),
  ];
  const others = reasons.length - first.length;
  // What is shown adds up as it is shown, rounded.
  const rest = round(score) - rows.reduce((sum, { adds }) => sum + adds, 0);
  if (others > 0) rows.push({ says: others === 1 ? "one thing more" : `${others} other things together`, adds: round(rest) });
  return [found(places), table(rows, score), ...counted(why.words)].filter(Boolean);
}

function found(places) {
  if (!places.length) return null;
  const all = [...places].sort((a, b) => a.rank - b.rank);
  const said = all.map(({ source, rank }) => `${SOURCES[source] ?? source} (${ordinal(rank)})`);
  return element("p", { className: "small", textContent: `Found by ${said.join(", ")}.` });
}

function ordinal(rank) {
  const ending = rank % 100 > 10 && rank % 100 < 14 ? "th" : { 1: "st", 2: "nd", 3: "rd" }[rank % 10] ?? "th";
  return `${rank}${ending}`;
}

function table(rows, score) {
  const low = Math.min(0, ...rows.map(({ adds }) => adds));
  const high = Math.max(0, ...rows.map(({ adds }) => adds));
  const whole = high - low || 1;
  const body = element("tbody", {}, ...rows.map(({ says, adds }) => {
    const beam = element("span", { className: adds < 0 ? "beam less" : "beam" });
    beam.style.left = `${((Math.min(0, adds) - low) / whole) * 100}%`;
    beam.style.width = `${(Math.abs(adds) / whole) * 100}%`;
    const zero = element("span", { className: "zero" });
    zero.style.left = `${(-low / whole) * 100}%`;
    const bars = element("td", { className: "bars" }, element("span", { className: "beams" }, zero, beam));
    bars.setAttribute("aria-hidden", "true");
    return element("tr", {}, heading(says), bars, element("td", { className: "number", textContent: signed(adds) }));
  }));
  const gap = element("td", { className: "bars" });
  gap.setAttribute("aria-hidden", "true");
  const total = element("td", { className: "number", textContent: signed(score) });
  return element("table", { className: "why" },
    element("caption", { textContent: "What adds to its score" }),
    body, element("tfoot", {}, element("tr", {}, heading("its score"), gap, total)));
}

const heading = (text) => element("th", { scope: "row", textContent: text });

function counted(words) {
  const parts = Object.entries(words).sort(([, a], [, b]) => b - a);
  if (!parts.length) return [];
  const said = parts.map(([stem, adds]) => `“${stem}” ${adds.toFixed(2)}`).join(", ");
  return [element("p", { className: "small", textContent: `What each word counts for: ${said}.` })];
}
