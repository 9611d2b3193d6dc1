// Explanation of a score: the contribution of each feature, as bars.

import { element } from "./dom.js";
import { list, ordinal, percent, text, textOr } from "./text.js";

const MAX_ROWS = 12; // features with a bar of their own

const round = (value) => Math.round(value * 100) / 100;

// Format an amount with its sign: +0.42, −0.10.
export function signed(value) {
  const digits = Math.abs(value).toFixed(2);
  return `${value < 0 && Number(digits) ? "−" : "+"}${digits}`;
}

// Return the elements of the explanation of a hit.
export function explanationElements({ score, sources, relevance, explanation }) {
  if (!explanation) {
    const textContent = text("relevant_by_words", { relevance: percent(relevance) });
    return [element("p", { className: "small", textContent })];
  }
  const reasons = explanation.reasons.filter(({ contribution }) => contribution !== 0);
  const first = reasons.slice(0, MAX_ROWS);
  const rows = [
    { label: text("base_score"), contribution: round(explanation.base) },
    ...first.map(({ label, contribution }) => ({ label, contribution: round(contribution) })),
  ];
  const others = reasons.length - first.length;
  // The rounded rows add up to the rounded score.
  const rest = round(score) - rows.reduce((sum, { contribution }) => sum + contribution, 0);
  if (others > 0) {
    rows.push({ label: text("other_features", { count: others }), contribution: round(rest) });
  }
  return [sourceList(sources), table(rows, score), ...wordScores(explanation.words)].filter(Boolean);
}

function sourceList(sources) {
  if (!sources.length) return null;
  const sorted = [...sources].sort((a, b) => a.rank - b.rank);
  const parts = sorted.map(({ source, rank }) => text("source_rank", { source: textOr(`source_${source}`, source), rank: ordinal(rank) }));
  return element("p", { className: "small", textContent: text("found_by", { sources: list(parts) }) });
}

function table(rows, score) {
  const low = Math.min(0, ...rows.map(({ contribution }) => contribution));
  const high = Math.max(0, ...rows.map(({ contribution }) => contribution));
  const range = high - low || 1;
  const body = element("tbody", {}, ...rows.map(({ label, contribution }) => {
    const beam = element("span", { className: "beam" });
    beam.classList.toggle("less", contribution < 0);
    beam.style.left = `${((Math.min(0, contribution) - low) / range) * 100}%`;
    beam.style.width = `${(Math.abs(contribution) / range) * 100}%`;
    const zero = element("span", { className: "zero" });
    zero.style.left = `${(-low / range) * 100}%`;
    const bars = element("td", { className: "bars" }, element("span", { className: "beams" }, zero, beam));
    bars.setAttribute("aria-hidden", "true");
    const amount = element("td", { className: "number", textContent: signed(contribution) });
    return element("tr", {}, heading(label), bars, amount);
  }));
  const gap = element("td", { className: "bars" });
  gap.setAttribute("aria-hidden", "true");
  const total = element("td", { className: "number", textContent: signed(score) });
  return element("table", { className: "explanation" },
    element("caption", { textContent: text("score_breakdown") }),
    body, element("tfoot", {}, element("tr", {}, heading(text("score")), gap, total)));
}

const heading = (textContent) => element("th", { scope: "row", textContent });

function wordScores(words) {
  const parts = Object.entries(words).sort(([, a], [, b]) => b - a);
  if (!parts.length) return [];
  const scores = parts.map(([stem, score]) => text("word_score", { stem, score: score.toFixed(2) }));
  return [element("p", { className: "small", textContent: text("score_of_words", { scores: list(scores) }) })];
}
