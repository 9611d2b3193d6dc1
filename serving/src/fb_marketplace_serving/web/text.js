// Messages in the language of the page, and its formats of numbers, prices and dates.

const strings = JSON.parse(document.getElementById("strings").textContent);
const language = document.documentElement.lang;
// "en-GB" of a reader instead of "en" of the page: formats differ between regions.
const locale = navigator.languages.find((tag) => tag.split("-")[0] === language) ?? language;
const plurals = new Intl.PluralRules(locale);

// Return a message with values in place of its names in braces. `count` chooses its plural form.
export function text(key, values = {}) {
  return phrase(key, values).join("");
}

// Return the parts of a message, in which values may be elements.
export function phrase(key, values = {}) {
  let message = strings[key];
  if (message === undefined) throw new Error(key);
  if (typeof message === "object") message = message[plurals.select(values.count)] ?? message.other;
  return message.split(/\{(\w+)\}/).map((part, at) => {
    if (at % 2 === 0) return part;
    return typeof values[part] === "number" ? number(values[part]) : values[part];
  });
}

// Return a message, or a fallback if the language has none.
export const textOr = (key, fallback) => (key in strings ? text(key) : fallback);

const numbers = new Intl.NumberFormat(locale, { maximumFractionDigits: 2 });
const percents = new Intl.NumberFormat(locale, { style: "percent" });
const dates = new Intl.DateTimeFormat(locale, { dateStyle: "medium" });
const ages = new Intl.RelativeTimeFormat(locale, { numeric: "auto" });

const ordinals = new Intl.PluralRules(locale, { type: "ordinal" });
const lists = new Intl.ListFormat(locale, { type: "unit", style: "short" });

export const ordinal = (rank) => (strings.ordinal[ordinals.select(rank)] ?? strings.ordinal.other).replace("{count}", rank);
export const list = (parts) => lists.format(parts);
export const number = (value) => numbers.format(value);
export const percent = (share) => (share > 0 && share < 0.01 ? text("under_percent") : percents.format(share));

export function money(amount, currency) {
  const minimumFractionDigits = Number.isInteger(amount) ? 0 : 2;
  try {
    const style = { style: "currency", currency, minimumFractionDigits, maximumFractionDigits: 2 };
    return new Intl.NumberFormat(locale, style).format(amount);
  } catch {
    return `${amount} ${currency}`; // unknown to Intl
  }
}

export const kilometres = (km) =>
  new Intl.NumberFormat(locale, { style: "unit", unit: "kilometer", maximumFractionDigits: 0 }).format(km);

const UNITS = [["month", 30], ["week", 7], ["day", 1], ["hour", 1 / 24], ["minute", 1 / 1440]];
const DAY_MS = 86_400_000;
const YEAR = 365;

// Return how long ago a time is; its date after a year, and "" if it is unknown.
export function age(time, now = Date.now()) {
  const days = (now - Date.parse(time ?? "")) / DAY_MS;
  if (Number.isNaN(days)) return "";
  if (days > YEAR) return dates.format(new Date(time));
  const [unit, length] = UNITS.find(([, least]) => days >= least) ?? UNITS.at(-1);
  return ages.format(-Math.max(0, Math.floor(days / length)), unit);
}
