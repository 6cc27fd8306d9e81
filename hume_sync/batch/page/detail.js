// One item: its facts, player, timeline, heat map and scores, drawn when it is opened.

const ROWS = 15;
const MEDIA_FACTS = { warm: "complete", rebuilt: "complete, replayed on a new connection", cold: "lost with a connection" };

class Detail {
  constructor(place, heading) {
    Object.assign(this, { place, heading, all: false, media: null, position: 0 });
    let pending = 0;
    let drawn = 0;
    new ResizeObserver(() => {
      cancelAnimationFrame(pending);
      pending = requestAnimationFrame(() => {
        if (this.charts && this.place.clientWidth !== drawn) this.drawCharts();
        drawn = this.place.clientWidth;
      });
    }).observe(place);
  }

  open(item, tools) {
    this.item = item;
    this.media = null;
    this.charts = null;
    this.heading.replaceChildren(item.key, " ", item.emulated ? element("span", { class: "badge" }, "EMULATED") : "");
    this.place.replaceChildren(tools, this.facts());
    if (item.error) {
      const [type, code, text, retryable] = item.error;
      this.place.append(
        element("p", { class: "bad" }, `${type}${code ? ` (${code})` : ""}: ${text}`),
        element("p", { class: "hint" }, retryable ? "It may succeed later." : "It would fail again, unchanged."),
      );
    }
    if (item.warning) this.place.append(element("p", { class: "notice" }, `Warning of the server: ${item.warning}`));
    if (item.media) this.place.append(this.player(item.media));
    if (!item.series) return;
    const options = item.series.map((series, at) => [at, seriesLabel(series)]);
    if (options.length > 1) {
      this.place.append(element("div", { class: "tools" }, choice("Scores", options, (at) => this.select(Number(at))).label));
    }
    this.place.append(element("p", { class: "caveat hint" }, document.querySelector("header .caveat").textContent));
    this.charts = element("div");
    this.place.append(this.charts);
    this.select(0);
  }

  facts() {
    const { item } = this;
    const rows = [pair("Result", item.error ? element("span", { class: "bad" }, "failed") : element("span", { class: "good" }, "measured"))];
    const models = [...new Set((item.series ?? []).map((series) => data.tracks[series.track].model))];
    if (models.length) rows.push(pair(models.length > 1 ? "Models" : "Model", models.join(", ")));
    if (item.length) rows.push(pair("Length", duration(item.length)));
    rows.push(pair("Time taken", duration(item.seconds)), pair("Requests", integer(item.requests ?? 1)));
    if (item.attempts) rows.push(pair("Attempts", integer(item.attempts)));
    if (item.window) rows.push(pair("Preceding audio", MEDIA_FACTS[item.window] ?? item.window));
    return element("dl", { class: "facts small" }, rows);
  }

  player({ element: name, url }) {
    const failed = () => box.replaceChildren(element("p", { class: "notice" }, "The file cannot be shown: it has been moved, or this browser does not play its format."));
    const media =
      name === "img"
        ? element("img", { src: url, alt: "The picture that was measured", error: failed })
        : element(name, { src: url, controls: true, preload: "metadata", "aria-label": "Player of the file that was measured", error: failed });
    const box = element("div", { class: "player" }, media);
    if (name !== "img") {
      this.media = media;
      const follow = () => {
        if (this.media !== media) return;
        this.move(media.currentTime);
        if (!media.paused && !media.ended) requestAnimationFrame(follow);
      };
      for (const event of ["play", "seeking", "seeked", "timeupdate"]) media.addEventListener(event, follow);
    }
    return box;
  }

  select(at) {
    this.series = this.item.series[at];
    this.track = data.tracks[this.series.track];
    this.names = this.track.names.map((name) => data.names[name]);
    this.columns = columnsOf(this.item, this.series);
    this.means = meansOf(this.columns, this.names.length);
    this.timed = Boolean(this.series.times);
    this.position = !this.timed ? 0.5 : this.media ? this.media.currentTime : 0;
    this.drawCharts();
  }

  drawCharts() {
    this.cursors = [];
    const order = ranked(this.means);
    const rows = this.all ? order : order.slice(0, ROWS);
    const more = order.length > ROWS
      ? element("button", { type: "button", class: "no-print", click: () => this.toggle() }, this.all ? `Show the highest ${ROWS}` : `Show all ${order.length}`)
      : null;
    if (this.columns.length === 1) {
      const text = this.columns[0].text;
      this.charts.replaceChildren(
        element("h3", {}, kindLabel(this.track.kind)),
        ...(text ? [element("p", { class: "readout" }, element("q", {}, text))] : []),
        bars(rows.map((i) => ({ name: this.names[i], value: this.means[i] })), Math.max(this.track.highest, 1e-3)),
        element("p", { class: "tools" }, more),
      );
      return;
    }
    const frame = new Frame(this.columns, this.timed, Math.max(300, this.place.clientWidth));
    const lines = lineChart(frame, this.names, this.means, this.track.highest);
    const heat = heatMap(frame, this.names, this.means, rows, this.track.highest);
    this.frame = frame;
    this.cursors = [lines.cursor, heat.cursor];
    for (const svg of [lines.svg, heat.svg]) {
      svg.addEventListener("pointerdown", (event) => this.seek(this.fromPointer(svg, event)));
      svg.addEventListener("pointermove", (event) => event.buttons & 1 && this.seek(this.fromPointer(svg, event)));
    }
    this.readout = element("p", { class: "readout", id: "readout" });
    this.slider = element("input", {
      type: "range", id: "position", min: this.timed ? 0 : 0.5, max: this.timed ? frame.to : this.columns.length - 0.5,
      step: this.timed ? Math.min(0.1, frame.to / 100) : 1, input: () => this.seek(Number(this.slider.value)),
    });
    this.charts.replaceChildren(
      element("h3", {}, "Timeline"),
      lines.svg, lines.legend ?? "",
      this.beside(frame, element("label", { for: "position" }, this.timed ? "Time" : "Segment"), this.slider),
      this.readout,
      element("h3", {}, "Heat map"),
      element("p", { class: "hint" }, `${kindLabel(this.track.kind)} by ${this.timed ? "time" : "segment"}, highest mean first; the mean is on the right.`),
      heat.svg, heatScale(this.track.highest),
      element("p", { class: "tools" }, more),
      this.scoreTable(order),
    );
    this.move(this.position);
  }

  /** Return the label and the slider, which lies below the plot. */
  beside(frame, ...children) {
    const box = element("div", { class: "position" }, ...children);
    box.style.gridTemplateColumns = `${frame.left - 8}px ${frame.right - frame.left + 16}px`;
    return box;
  }

  toggle() {
    this.all = !this.all;
    this.drawCharts();
    this.charts.querySelector("p.tools button").focus();
  }

  /** Return all scores as a table, made when it is unfolded. */
  scoreTable(order) {
    const body = element("div", { class: "scroll", role: "region", "aria-label": "All scores", tabindex: 0 });
    const fill = () => {
      if (body.firstChild) return;
      const heads = this.columns.map((column) => element("th", { scope: "col", class: "number" }, rangeLabel(column, this.timed)));
      const rows = order.map((i) =>
        element("tr", {}, element("th", { scope: "row" }, this.names[i]), this.columns.map((column) => element("td", { class: "number" }, number(column.scores[i], 3)))),
      );
      body.append(
        element("table", {}, element("caption", {}, `${kindLabel(this.track.kind)} of ${this.item.key}`), element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "Name"), heads)), element("tbody", {}, rows)),
      );
    };
    return element("details", { toggle: fill }, element("summary", {}, "All scores as a table"), body);
  }

  fromPointer(svg, event) {
    const box = svg.getBoundingClientRect();
    return this.frame.position(((event.clientX - box.left) / box.width) * this.frame.width);
  }

  seek(position) {
    if (this.media && this.timed && this.media.readyState > 0) this.media.currentTime = position;
    this.move(position);
  }

  /** Put the cursor to a time, or to a segment. */
  move(position) {
    this.position = position;
    if (!this.cursors.length) return;
    const x = Math.min(this.frame.x(Math.min(position, this.frame.to)), this.frame.right);
    for (const cursor of this.cursors) {
      cursor.setAttribute("x1", x);
      cursor.setAttribute("x2", x);
    }
    const column = columnAt(this.columns, position);
    const top = ranked(column.scores).slice(0, LINES);
    const label = rangeLabel(column, this.timed);
    this.readout.replaceChildren(
      element("span", {}, `${label}:`),
      ...top.map((i) => element("span", {}, `${this.names[i]} `, element("b", { class: "score" }, number(column.scores[i], 3)))),
      column.text ? element("q", {}, column.text) : "",
    );
    this.slider.value = position;
    this.slider.setAttribute("aria-valuetext", `${label}: ${top.slice(0, 3).map((i) => `${this.names[i]} ${number(column.scores[i])}`).join(", ")}`);
  }
}

function kindLabel(kind) {
  return { emotions: "Expressions", facs: "Facial actions", descriptions: "Descriptions", sentiment: "Sentiment", toxicity: "Toxicity" }[kind] ?? kind;
}

function trackLabel(track) {
  return track.kind === "emotions" ? track.model : `${track.model}, ${kindLabel(track.kind).toLowerCase()}`;
}

function seriesLabel(series) {
  const label = trackLabel(data.tracks[series.track]);
  return series.label ? `${label}: ${series.label}` : label;
}
