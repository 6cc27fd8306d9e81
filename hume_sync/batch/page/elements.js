"use strict";
// Builds elements. Texts come from files and servers: they are set as text, never parsed.

const SVG = "http://www.w3.org/2000/svg";

function build(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") node.addEventListener(name, value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

function element(name, attributes = {}, ...children) {
  return build(document.createElement(name), attributes, children);
}

function shape(name, attributes = {}, ...children) {
  return build(document.createElementNS(SVG, name), attributes, children);
}

function byId(id) {
  return document.getElementById(id);
}

function number(value, digits = 2) {
  return value === undefined || value === null || Number.isNaN(value) ? "\u2013" : value.toFixed(digits);
}

function integer(value) {
  return value.toLocaleString("en");
}

function plural(count, one, many = `${one}s`) {
  return `${integer(count)} ${count === 1 ? one : many}`;
}

function duration(seconds) {
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
  const whole = Math.round(seconds);
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  return hours ? `${integer(hours)} h ${minutes} min` : `${minutes} min ${whole % 60} s`;
}

function clock(seconds) {
  const minutes = Math.floor(seconds / 60);
  const rest = seconds - 60 * minutes;
  const digits = Math.abs(rest - Math.round(rest)) < 1e-6 ? 0 : 1;
  return `${minutes}:${rest.toFixed(digits).padStart(digits ? 4 : 2, "0")}`;
}

function pair(term, ...description) {
  return element("div", {}, element("dt", {}, term), element("dd", {}, ...description));
}

function choice(label, options, changed, selected = 0) {
  const select = element(
    "select",
    { change: () => changed(select.value) },
    options.map(([value, text]) => element("option", { value }, text)),
  );
  select.selectedIndex = selected;
  return { label: element("label", {}, label, select), select };
}

// --- scores ---------------------------------------------------------------------------------------------

const CODES = new Map([..."abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"].map((c, i) => [c, i]));
const MISSING = 64 * 64 - 1;

/** Return the scores that a string of pairs of characters, or a list, holds; NaN where there is none. */
function decode(coded) {
  if (typeof coded !== "string") return coded.map((score) => (score === null ? NaN : score));
  const scores = new Array(coded.length / 2);
  for (let i = 0; i < scores.length; i += 1) scores[i] = decodeOne(coded, i);
  return scores;
}

function decodeOne(coded, index) {
  if (typeof coded !== "string") return coded[index] ?? NaN;
  if (2 * index >= coded.length) return NaN;
  const code = 64 * CODES.get(coded[2 * index]) + CODES.get(coded[2 * index + 1]);
  return code === MISSING ? NaN : (code - 1000) / 1000;
}

/** Return the indices of scores, highest first, without those that are missing. */
function ranked(scores) {
  return [...scores.keys()].filter((i) => !Number.isNaN(scores[i])).sort((a, b) => scores[b] - scores[a]);
}
