// A table of any length: sorted by the buttons in its head, shown in pages.

class PagedTable {
  /**
   * Columns: {label, value(row), cell(row), numeric, heading, minor, classes}. `value` is what is sorted by, with
   * undefined or NaN last; `cell` returns the content.
   */
  constructor(place, { caption, columns, rows, size = 25, name }) {
    Object.assign(this, { columns, rows, size, name, page: 0, sorted: null, shown: rows, current: null });
    this.caption = element("caption", {}, caption);
    this.head = element("tr");
    this.body = element("tbody");
    this.previous = element("button", { type: "button", click: () => this.turn(-1) }, "Previous");
    this.next = element("button", { type: "button", click: () => this.turn(1) }, "Next");
    this.range = element("span", { role: "status" });
    this.pages = element("nav", { class: "pages", "aria-label": `Pages of ${name}` }, this.previous, this.next, this.range);
    place.replaceChildren(
      element(
        "div",
        { class: "scroll", role: "region", "aria-label": caption, tabindex: 0 },
        element("table", {}, this.caption, element("thead", {}, this.head), this.body),
      ),
      this.pages,
    );
    this.drawHead();
    this.update();
  }

  drawHead() {
    this.head.replaceChildren(
      ...this.columns.map((column, index) => {
        const direction = this.sorted?.index === index ? (this.sorted.falling ? "descending" : "ascending") : "none";
        const button = element("button", { type: "button", click: () => this.sort(index) }, column.label);
        return element(
          "th",
          { scope: "col", "aria-sort": column.value ? direction : null, class: this.classes(column) },
          column.value ? button : column.label,
        );
      }),
    );
  }

  classes(column) {
    return [column.numeric && "number", column.minor && "hide-small", column.classes].filter(Boolean).join(" ") || null;
  }

  sort(index) {
    const same = this.sorted?.index === index;
    this.sorted = { index, falling: same ? !this.sorted.falling : Boolean(this.columns[index].numeric) };
    for (const [at, cell] of [...this.head.children].entries()) {
      if (cell.hasAttribute("aria-sort")) {
        cell.setAttribute("aria-sort", at !== index ? "none" : this.sorted.falling ? "descending" : "ascending");
      }
    }
    this.page = 0;
    this.update();
  }

  filter(rows) {
    this.rows = rows;
    this.page = 0;
    this.update();
  }

  replaceColumn(index, column) {
    this.columns[index] = column;
    const label = this.head.children[index].querySelector("button");
    label.textContent = column.label;
    if (this.sorted?.index === index) this.page = 0;
    this.update();
  }

  turn(by) {
    this.page += by;
    this.draw();
  }

  /** Show the page with a row, and mark the row. */
  show(row) {
    this.current = row;
    const at = this.shown.indexOf(row);
    if (at >= 0) this.page = Math.floor(at / this.size);
    this.draw();
  }

  update() {
    this.shown = this.sorted ? this.order() : this.rows;
    this.draw();
  }

  order() {
    const { index, falling } = this.sorted;
    const value = this.columns[index].value;
    const keyed = this.rows.map((row) => [value(row), row]);
    const lacks = (key) => key === undefined || key === null || Number.isNaN(key);
    const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
    keyed.sort(([a], [b]) => lacks(a) - lacks(b) || (lacks(a) ? 0 : falling ? compare(b, a) : compare(a, b)));
    return keyed.map(([, row]) => row);
  }

  draw() {
    const last = Math.max(0, Math.ceil(this.shown.length / this.size) - 1);
    this.page = Math.min(Math.max(this.page, 0), last);
    const start = this.page * this.size;
    const rows = this.shown.slice(start, start + this.size);
    this.body.replaceChildren(
      ...rows.map((row) =>
        element(
          "tr",
          { class: row === this.current ? "open" : null },
          this.columns.map((column) =>
            element(
              column.heading ? "th" : "td",
              { scope: column.heading ? "row" : null, class: this.classes(column) },
              [column.cell(row)].flat(),
            ),
          ),
        ),
      ),
    );
    this.pages.hidden = last === 0;
    this.previous.disabled = this.page === 0;
    this.next.disabled = this.page === last;
    this.range.textContent = rows.length
      ? `${integer(start + 1)} to ${integer(start + rows.length)} of ${integer(this.shown.length)}`
      : "none";
  }
}
