// Fills the page.

const data = JSON.parse(byId("data").textContent);
const { items, facts } = data;
const everyItem = [...items.keys()];
const folders = data.scopes.slice(1);
const TOP = 12;

function itemButton(index, text = items[index].key) {
  return element("button", { type: "button", class: "link", click: () => go(index) }, text);
}

function showFacts() {
  const share = facts.items ? ` (${((100 * facts.failed) / facts.items).toFixed(1)} %)` : "";
  const rows = [
    pair("Items", integer(facts.items)),
    pair("Measured", integer(facts.measured)),
    pair("Failed", element("span", { class: facts.failed ? "bad" : null }, integer(facts.failed) + (facts.failed ? share : ""))),
    pair("Requests", integer(facts.requests)),
  ];
  if (facts.retried) rows.push(pair("Items tried again", integer(facts.retried)));
  rows.push(pair("Time of all items", duration(facts.seconds)));
  if (facts.media_seconds) rows.push(pair("Audio and video", duration(facts.media_seconds)));
  rows.push(pair("Models", facts.models.join(", ") || "none"));
  rows.push(pair("Scores", { all: "emulated", some: "partly emulated", none: facts.measured ? "of a server" : "none" }[facts.emulated]));
  if (facts.source) rows.push(pair("Results", facts.source), pair("Results written", moment(facts.measured_at)));
  rows.push(pair("Report written", moment(facts.written_at)));
  byId("facts").append(...rows);
  const notes = [];
  if (facts.replaced) notes.push(`${plural(facts.replaced, "earlier result")} of the same keys ${facts.replaced === 1 ? "was" : "were"} replaced by later ones.`);
  if (facts.torn) notes.push("The last line of the results was torn, and is left out: the run was interrupted.");
  for (const note of notes) byId("facts").after(element("p", { class: "hint" }, note));
}

function moment(text) {
  return element("time", { datetime: text }, text.replace("T", " ").replace(/:\d\dZ$/, " UTC"));
}

function showFailures() {
  if (!data.failures.length) return;
  byId("failures").hidden = false;
  const rows = data.failures.map(({ error: [type, code, text, retryable], count, items: first }) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, code ?? "no code"),
      element("td", { class: "hide-small" }, type),
      element("td", { class: "number" }, integer(count)),
      element("td", { class: "text" }, text, retryable ? " (may succeed later)" : ""),
      element("td", { class: "text" }, ...first.flatMap((item, at) => [at ? ", " : "", itemButton(item)]), count > first.length ? ` and ${integer(count - first.length)} more` : ""),
    ),
  );
  const heads = ["Code", "Error", "Items", "First message", "First inputs"];
  byId("failures-table").append(
    element(
      "table",
      {},
      element("caption", {}, "Failures by code, the most frequent first"),
      element("thead", {}, element("tr", {}, heads.map((head) => element("th", { scope: "col", class: { Items: "number", Error: "hide-small" }[head] }, head)))),
      element("tbody", {}, rows),
    ),
  );
}

// --- the highest expressions ----------------------------------------------------------------------------

const topView = { track: 0, scope: 0, all: false };

function showTop() {
  const tracks = data.scopes[0].tracks.filter(({ items: count }) => count);
  if (!tracks.length) return;
  byId("top").hidden = false;
  const usual = [...tracks].sort((a, b) => isOther(a) - isOther(b) || b.items - a.items)[0];
  topView.track = usual.track;
  const tools = [];
  if (tracks.length > 1) {
    const options = tracks.map(({ track }) => [track, trackLabel(data.tracks[track])]);
    tools.push(choice("Model", options, (track) => drawTop({ track: Number(track) }), tracks.indexOf(usual)).label);
  }
  if (folders.length) {
    const options = data.scopes.map((scope, at) => [at, at ? folderName(scope) : "all folders"]);
    tools.push(choice("Folder", options, (scope) => drawTop({ scope: Number(scope) })).label);
  }
  byId("top-tools").append(...tools);
  drawTop({});
}

function isOther({ track }) {
  return Number(data.tracks[track].kind !== "emotions");
}

function drawTop(change) {
  Object.assign(topView, change);
  const track = data.tracks[topView.track];
  const scope = data.scopes[topView.scope];
  const found = scope.tracks.find((one) => one.track === topView.track);
  const note = byId("top-note");
  if (!found) {
    note.textContent = `No item of this folder has scores of ${trackLabel(track)}.`;
    byId("top-chart").replaceChildren();
    return;
  }
  note.textContent = `${trackLabel(track)}: mean over ${plural(found.items, "item")}. The mark and the link show the item with the highest mean.`;
  const means = decode(found.means);
  const most = decode(found.highest);
  const order = ranked(means);
  const rows = (topView.all ? order : order.slice(0, TOP)).map((i) => ({
    name: data.names[track.names[i]],
    value: means[i],
    most: found.items > 1 ? most[i] : undefined,
    where: found.items > 1 ? [`${number(most[i], 3)} `, itemButton(found.where[i])] : null,
  }));
  const more = element("button", { type: "button", click: () => drawTop({ all: !topView.all }) }, topView.all ? `Show the highest ${TOP}` : `Show all ${order.length}`);
  byId("top-chart").replaceChildren(
    bars(rows, Math.max(...most.filter((score) => !Number.isNaN(score)), 1e-3)),
    element("p", { class: "tools" }, order.length > TOP ? more : null),
  );
}

// --- folders and items ----------------------------------------------------------------------------------

function showFolders() {
  if (!folders.length) return;
  byId("folders").hidden = false;
  const tops = folders.map((scope) => {
    const usual = [...scope.tracks].sort((a, b) => isOther(a) - isOther(b) || b.items - a.items)[0];
    if (!usual) return [];
    const means = decode(usual.means);
    return ranked(means).slice(0, 3).map((i) => [data.tracks[usual.track].names[i], means[i]]);
  });
  new PagedTable(byId("folders-table"), {
    caption: "Folders, with the highest mean scores of each",
    name: "folders",
    size: 15,
    rows: [...folders.keys()],
    columns: [
      {
        label: "Folder", heading: true, value: (at) => at,
        cell: (at) => element("button", { type: "button", class: "link", click: () => pickFolder(at) }, folderName(folders[at])),
      },
      { label: "Items", numeric: true, value: (at) => folders[at].items, cell: (at) => integer(folders[at].items) },
      { label: "Failed", numeric: true, value: (at) => folders[at].failed, cell: (at) => integer(folders[at].failed) },
      { label: "Top expressions", classes: "first", value: (at) => topText(tops[at]), cell: (at) => topCell(tops[at]) },
    ],
  });
}

function folderName({ name }) {
  return name === "." ? "(no folder)" : name;
}

function topText(top) {
  return top?.length ? data.names[top[0][0]] : undefined;
}

function topCell(top) {
  return (top ?? []).map(([name, score]) => element("span", {}, `${data.names[name]} `, element("b", {}, number(score))));
}

const view = { text: "", status: "", folder: "", expression: 0 };
let table = null;
let count = null;
let folderChoice = null;
const haystacks = new Array(items.length);

function haystack(index) {
  const item = items[index];
  haystacks[index] ??= [
    item.key,
    ...(item.error ?? []).slice(0, 3),
    item.warning,
    ...(item.top ?? []).map(([name]) => data.names[name]),
    ...(item.series ?? []).flatMap((series) => [data.tracks[series.track].model, ...(series.texts ?? [])]),
  ].join("\n").toLowerCase();
  return haystacks[index];
}

function applyFilter() {
  const words = view.text.toLowerCase().split(/\s+/).filter(Boolean);
  const kept = everyItem.filter((index) => {
    const item = items[index];
    if (view.status && (view.status === "failed") !== Boolean(item.error)) return false;
    if (view.folder !== "" && item.folder !== Number(view.folder)) return false;
    return words.every((word) => haystack(index).includes(word));
  });
  table.filter(kept);
  count.textContent = kept.length === items.length ? plural(kept.length, "item") : `${integer(kept.length)} of ${plural(items.length, "item")}`;
}

function pickFolder(at) {
  folderChoice.value = String(at);
  view.folder = String(at);
  applyFilter();
  byId("items-heading").focus();
  byId("items-heading").scrollIntoView();
}

/** Return the mean score of the chosen expression over all models of an item. */
function scoreOf(index) {
  const { means, series } = items[index];
  if (means !== undefined) return decodeOne(means, view.expression);
  if (!series) return NaN;
  // An item with a single row of scores: that row is in the order of its model's names.
  const at = data.tracks[series[0].track].names.indexOf(data.emotions[view.expression]);
  const { scores } = series[0];
  return at < 0 ? NaN : decodeOne(typeof scores === "string" ? scores : scores[0], at);
}

function expressionColumn() {
  return {
    label: data.names[data.emotions[view.expression]], numeric: true,
    value: scoreOf, cell: (index) => number(scoreOf(index), 3),
  };
}

function showItems() {
  const search = element("input", { type: "search", autocomplete: "off", spellcheck: "false", input: () => { view.text = search.value; applyFilter(); } });
  const tools = [element("label", { class: "grow" }, "Filter: names, texts, errors, expressions", search)];
  if (facts.failed && facts.measured) {
    tools.push(choice("Result", [["", "all"], ["measured", "measured"], ["failed", "failed"]], (status) => { view.status = status; applyFilter(); }).label);
  }
  if (folders.length) {
    const made = choice("Folder", [["", "all"], ...folders.map((scope, at) => [at, folderName(scope)])], (folder) => { view.folder = folder; applyFilter(); });
    folderChoice = made.select;
    tools.push(made.label);
  }
  const columns = [
    { label: "Input", heading: true, value: (index) => index, cell: (index) => [itemButton(index), facts.emulated === "some" && items[index].emulated ? [" ", element("span", { class: "badge" }, "EMULATED")] : null].flat() },
    { label: "Result", minor: true, value: (index) => resultText(index), cell: (index) => element("span", { class: items[index].error ? "bad" : null }, resultText(index)) },
    { label: "Top expressions", classes: "first", value: (index) => topText(items[index].top), cell: (index) => [...topCell(items[index].top), items[index].error ? element("span", { class: "bad only-small" }, resultText(index)) : null] },
  ];
  if (data.emotions.length) {
    const at = columns.length;
    const names = data.emotions.map((name, i) => [i, data.names[name]]).sort(([, a], [, b]) => (a < b ? -1 : 1));
    view.expression = names[0][0];
    columns.push(expressionColumn());
    tools.push(choice("Show the score of", names, (value) => { view.expression = Number(value); table.replaceColumn(at, expressionColumn()); }).label);
  }
  if (facts.media_seconds) columns.push({ label: "Length", numeric: true, minor: true, value: (index) => items[index].length, cell: (index) => (items[index].length ? duration(items[index].length) : "\u2013") });
  columns.push({ label: "Requests", numeric: true, minor: true, value: (index) => items[index].requests ?? 1, cell: (index) => integer(items[index].requests ?? 1) });
  columns.push({ label: "Time taken", numeric: true, minor: true, value: (index) => items[index].seconds, cell: (index) => duration(items[index].seconds) });
  count = element("p", { class: "count", role: "status" });
  byId("items-tools").append(...tools, count);
  table = new PagedTable(byId("items-table"), {
    caption: "All items: choose one to see its scores over time, or a heading to sort by it", name: "items", columns, rows: everyItem,
  });
  applyFilter();
}

function resultText(index) {
  const { error } = items[index];
  return error ? (error[1] ?? error[0]) : "measured";
}

// --- one item -------------------------------------------------------------------------------------------

const detail = new Detail(byId("detail-body"), byId("detail-heading"));

/** Open an item, and go there. */
function go(index) {
  const hash = `#item-${index + 1}`;
  if (location.hash === hash) openItem(index, true);
  else location.hash = hash;
}

function step(index, by) {
  const next = table.shown[table.shown.indexOf(index) + by];
  return element("button", { type: "button", disabled: next === undefined, click: () => go(next) }, by < 0 ? "Previous item" : "Next item");
}

function back() {
  const row = byId("items-table").querySelector("tr.open button") ?? byId("items-heading");
  row.focus();
  row.scrollIntoView({ block: "center" });
}

function openItem(index, move) {
  byId("detail").hidden = false;
  const tools = element("div", { class: "tools" }, step(index, -1), step(index, 1), element("button", { type: "button", click: back }, "Back to the table"));
  detail.open(items[index], tools);
  table.show(index);
  if (move) {
    byId("detail-heading").focus();
    byId("detail-heading").scrollIntoView();
  }
}

function chosenItem() {
  const index = Number(/^#item-(\d+)$/.exec(location.hash)?.[1]) - 1;
  return items[index] ? index : undefined;
}

showFacts();
showFailures();
showTop();
showFolders();
showItems();
const begin = chosenItem() ?? everyItem.find((index) => !items[index].error) ?? 0;
if (items.length) openItem(begin, chosenItem() !== undefined);
addEventListener("hashchange", () => {
  const index = chosenItem();
  if (index !== undefined) openItem(index, true);
});
document.documentElement.dataset.ready = String(Math.round(performance.now()));
