// Bars, lines over time and heat maps, as SVG in the width that is there.

const LEVELS = 10;
const LINES = 5;
const TIME_STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800];
let charts = 0;

/** Return the columns of a series in the order of time, with the range of the axis that each one takes. */
function columnsOf(item, series) {
  const names = data.tracks[series.track].names;
  const width = names.length;
  const coded = series.scores;
  const count = typeof coded === "string" ? coded.length / (2 * width) : coded.length;
  const columns = Array.from({ length: count }, (_, i) => ({
    begin: series.times ? series.times[2 * i] : i,
    end: series.times ? series.times[2 * i + 1] : i + 1,
    text: series.texts?.[i] ?? "",
    count: series.counts?.[i] ?? 1,
    scores: decode(typeof coded === "string" ? coded.slice(2 * width * i, 2 * width * (i + 1)) : coded[i]),
  }));
  columns.sort((a, b) => a.end - b.end || a.begin - b.begin);
  let reached = 0;
  for (const [i, column] of columns.entries()) {
    const next = columns.slice(i + 1).find((other) => other.begin > column.begin);
    const gap = i ? column.begin - columns[i - 1].begin : 1;
    // A frame of a video lasts until the next one; of windows that overlap, the part is shown that is new.
    column.left = column.end > column.begin ? Math.max(column.begin, Math.min(reached, column.end)) : column.begin;
    column.right = column.end > column.begin ? column.end : next ? next.begin : column.begin + (gap || 1);
    reached = Math.max(reached, column.right);
  }
  return columns;
}

/** Return the mean of each score over columns. */
function meansOf(columns, width) {
  return Array.from({ length: width }, (_, i) => {
    let sum = 0;
    let weight = 0;
    for (const { scores, count } of columns) {
      if (!Number.isNaN(scores[i])) {
        sum += scores[i] * count;
        weight += count;
      }
    }
    return weight ? sum / weight : NaN;
  });
}

function columnAt(columns, position) {
  let found = columns[0];
  for (const column of columns) if (column.left <= position) found = column;
  return found;
}

function rangeLabel(column, timed) {
  if (!timed) return column.count > 1 ? `Segment ${column.begin + 1} (mean of ${column.count} segments)` : `Segment ${column.begin + 1}`;
  return column.end > column.begin ? `${clock(column.begin)} to ${clock(column.end)}` : clock(column.begin);
}

/** Return a list of bars; `rows` are {name, value, most, where}. */
function bars(rows, highest) {
  const limit = 1.01 * (highest || 1); // room for the mark of the highest
  const share = (value) => `${(100 * Math.min(Math.max(value / limit, 0), 1)).toFixed(2)}%`;
  const detailed = rows.some((row) => row.where);
  return element(
    "ol",
    { class: detailed ? "bars" : "bars plain" },
    rows.map((row) =>
      element(
        "li",
        {},
        element("span", {}, row.name),
        shape(
          "svg",
          { "aria-hidden": "true" },
          shape("rect", { class: "track", width: "100%", height: "100%", rx: 2 }),
          shape("rect", { class: "mean", width: share(row.value), height: "100%", rx: 2 }),
          row.most === undefined ? null : shape("rect", { class: "most", x: share(row.most), width: 2, height: "100%" }),
        ),
        element("span", { class: "amount" }, number(row.value, 3)),
        detailed ? element("span", { class: "where" }, row.where) : null,
      ),
    ),
  );
}

class Frame {
  /** The geometry that the charts of an item share, so that their times lie one above the other. */
  constructor(columns, timed, width) {
    const narrow = width < 620;
    Object.assign(this, { columns, timed, width, narrow });
    this.left = narrow ? 122 : 168;
    this.right = width - (narrow ? 40 : 168);
    this.from = 0;
    this.to = Math.max(...columns.map((column) => column.right), 1e-3);
  }

  x(position) {
    return this.left + ((position - this.from) / (this.to - this.from)) * (this.right - this.left);
  }

  position(x) {
    const share = (x - this.left) / (this.right - this.left);
    return this.from + Math.min(Math.max(share, 0), 1) * (this.to - this.from);
  }

  axis(y, height) {
    const room = Math.max(2, Math.floor((this.right - this.left) / 70));
    const parts = [];
    if (this.timed) {
      const step = TIME_STEPS.find((one) => (this.to - this.from) / one <= room) ?? this.to / room;
      for (let i = 0; i * step <= this.to + 1e-9; i += 1) {
        const at = this.x(i * step);
        parts.push(shape("line", { class: "grid", x1: at, x2: at, y1: y - height, y2: y + 4 }));
        parts.push(shape("text", { class: "axis", x: at, y: y + 16, "text-anchor": "middle" }, clock(i * step)));
      }
    } else {
      const step = Math.max(1, Math.ceil(this.columns.length / room));
      for (let i = 0; i < this.columns.length; i += step) {
        parts.push(shape("text", { class: "axis", x: this.x(i + 0.5), y: y + 16, "text-anchor": "middle" }, String(i + 1)));
      }
    }
    return parts;
  }

  cursor(top, bottom) {
    return shape("line", { class: "cursor", x1: this.left, x2: this.left, y1: top, y2: bottom });
  }

  svg(height, title, description, ...children) {
    charts += 1;
    const ids = [`chart-${charts}-title`, `chart-${charts}-text`];
    return shape(
      "svg",
      {
        class: "chart", role: "img", width: this.width, height, viewBox: `0 0 ${this.width} ${height}`,
        "aria-labelledby": ids[0], "aria-describedby": ids[1],
      },
      shape("title", { id: ids[0] }, title),
      shape("desc", { id: ids[1] }, description),
      ...children,
    );
  }
}

/** Return the lines of the highest names over time. */
function lineChart(frame, names, means, scaleTo) {
  const height = 216;
  const top = 10;
  const bottom = height - 26;
  const order = ranked(means).slice(0, LINES);
  const most = Math.max(...order.flatMap((i) => frame.columns.map((column) => column.scores[i] || 0)), 1e-3);
  const step = [0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5, 1].find((one) => most / one <= 4.001) ?? scaleTo / 4;
  const limit = step * Math.ceil(most / step - 1e-9);
  const y = (value) => bottom - (Math.max(value, 0) / limit) * (bottom - top);
  const grid = [];
  for (let i = 0; i * step <= limit + 1e-9; i += 1) {
    const at = y(i * step);
    grid.push(shape("line", { class: "grid", x1: frame.left, x2: frame.right, y1: at, y2: at }));
    grid.push(shape("text", { class: "axis", x: frame.left - 8, y: at + 4, "text-anchor": "end" }, number(i * step)));
  }
  const traces = order.map((name, at) => {
    let path = "";
    let pen = "M";
    const dots = [];
    for (const column of frame.columns) {
      const score = column.scores[name];
      if (Number.isNaN(score)) {
        pen = "M";
        continue;
      }
      const x = frame.x((column.left + column.right) / 2);
      path += `${pen}${x.toFixed(1)} ${y(score).toFixed(1)}`;
      pen = "L";
      if (frame.columns.length <= 40) dots.push(shape("circle", { class: `dot${at + 1}`, cx: x, cy: y(score), r: 2.5 }));
    }
    return shape("g", {}, shape("path", { class: `trace line${at + 1}`, d: path }), dots);
  });
  const cursor = frame.cursor(top, bottom);
  const described = order.map((i) => `${names[i]} ${number(means[i], 3)} on average`).join(", ");
  const svg = frame.svg(
    height, "Timeline", `The highest expressions over ${frame.timed ? "time" : "the segments"}: ${described}.`,
    ...frame.axis(bottom, bottom - top), ...grid, ...traces,
    ...(frame.narrow ? [] : endLabels(frame, names, order, y, top, bottom)), cursor,
  );
  const legend = frame.narrow
    ? element(
        "ul",
        { class: "legend", "aria-hidden": "true" },
        order.map((i, at) =>
          element(
            "li",
            {},
            shape("svg", { viewBox: "0 0 26 8" }, shape("path", { class: `trace line${at + 1}`, d: "M0 4H26", "stroke-width": 2 })),
            names[i],
          ),
        ),
      )
    : null;
  return { svg, cursor, legend };
}

/** Return the names beside the ends of the lines, moved apart where they would overlap. */
function endLabels(frame, names, order, y, top, bottom) {
  const gap = 16;
  const labels = order
    .map((i, at) => {
      const last = frame.columns.findLast((column) => !Number.isNaN(column.scores[i]));
      return { at, name: names[i], from: y(last.scores[i]), x: frame.x((last.left + last.right) / 2) };
    })
    .sort((a, b) => a.from - b.from);
  let above = -Infinity;
  for (const label of labels) above = label.y = Math.max(label.from, above + gap, top + 4);
  const surplus = Math.max(0, above - bottom);
  let below = Infinity;
  for (const label of labels.toReversed()) below = label.y = Math.min(label.y, below - gap, bottom - (surplus ? 0 : -4));
  return labels.flatMap((label) => [
    shape("path", {
      class: `leader line${label.at + 1}`, fill: "none",
      d: `M${label.x + 4} ${label.from}L${frame.right + 2} ${label.from}L${frame.right + 12} ${label.y}`,
    }),
    shape("circle", { class: `dot${label.at + 1}`, cx: frame.right + 17, cy: label.y, r: 3.5 }),
    shape("text", { x: frame.right + 25, y: label.y + 4 }, label.name),
  ]);
}

function level(score, highest) {
  return Math.min(LEVELS - 1, Math.max(0, Math.floor((score / (highest || 1)) * LEVELS)));
}

/** Return a heat map: a row for each name, a column for each segment. */
function heatMap(frame, names, means, rows, highest) {
  const size = 17;
  const top = 4;
  const bottom = top + rows.length * size;
  const paths = new Array(LEVELS).fill("");
  for (const [at, row] of rows.entries()) {
    for (const column of frame.columns) {
      const score = column.scores[row];
      if (Number.isNaN(score)) continue;
      const x = frame.x(column.left);
      const width = frame.x(column.right) - x;
      const space = width > 14 ? 1 : 0;
      paths[level(score, highest)] += `M${x.toFixed(2)} ${top + at * size}h${(width - space).toFixed(2)}v${size - 1}h${(space - width).toFixed(2)}z`;
    }
  }
  const cursor = frame.cursor(top, bottom);
  const best = ranked(means).slice(0, 3).map((i) => `${names[i]} ${number(means[i], 3)}`);
  const svg = frame.svg(
    bottom + 24, "Heat map",
    `${rows.length} expressions by ${frame.columns.length} segments; highest on average: ${best.join(", ")}. All scores are in the table below.`,
    ...frame.axis(bottom, 0),
    ...paths.map((path, at) => shape("path", { class: `heat${at}`, d: path })),
    ...rows.flatMap((row, at) => [
      shape("text", { x: frame.left - 8, y: top + at * size + 12, "text-anchor": "end" }, fitted(names[row], frame.narrow)),
      shape("text", { class: "axis", x: frame.right + 8, y: top + at * size + 12 }, number(means[row], frame.narrow ? 2 : 3)),
    ]),
    cursor,
  );
  return { svg, cursor };
}

function fitted(name, narrow) {
  const most = narrow ? 18 : 25;
  return name.length > most ? `${name.slice(0, most - 1)}\u2026` : name;
}

function heatScale(highest) {
  return element(
    "p",
    { class: "scale" },
    number(0),
    shape(
      "svg",
      { viewBox: `0 0 ${LEVELS} 1`, preserveAspectRatio: "none", role: "img", "aria-label": "Colours from low to high scores" },
      Array.from({ length: LEVELS }, (_, i) => shape("rect", { class: `heat${i}`, x: i, width: 1.02, height: 1 })),
    ),
    `${number(highest)} (highest score of this model in all items)`,
  );
}
