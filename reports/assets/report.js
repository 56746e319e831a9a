"use strict";
// The script of the report: draws the plots in the colours of the page, sorts and filters the table of trials.
(function () {
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const plots = [];

  // Expands runs of equal texts, which are compressed to {runs: [[count, text], …]}.
  function expanded(value) {
    if (Array.isArray(value)) return value.map(expanded);
    if (value === null || typeof value !== "object") return value;
    if (Array.isArray(value.runs)) return value.runs.flatMap(([count, text]) => Array(count).fill(text));
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, expanded(item)]));
  }

  function theme(layout, prefix) {
    const ink = colour(prefix + "ink"), grid = colour(prefix + "line"), paper = colour(prefix + "surface");
    const change = {
      "font.color": ink, "hoverlabel.bgcolor": paper, "hoverlabel.font.color": ink, "hoverlabel.bordercolor": grid,
    };
    for (const axis of Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key))) {
      change[axis + ".gridcolor"] = grid;
      change[axis + ".linecolor"] = grid;
    }
    return change;
  }

  function draw(figure) {
    const canvas = figure.querySelector(".canvas");
    const spec = expanded(JSON.parse(figure.querySelector("script").textContent));
    // Touching a plot should scroll the page, not draw a zoom frame.
    const touch = matchMedia("(pointer: coarse), (hover: none)").matches;
    if (touch) spec.layout.dragmode = false;
    const config = {
      responsive: true, displaylogo: false, displayModeBar: touch ? false : "hover",
      modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
    };
    return Plotly.newPlot(canvas, spec.data, spec.layout, config).then(() => {
      plots.push(canvas);
      canvas.dataset.drawn = "true";
    });
  }

  function recolour(prefix) {
    for (const canvas of plots) Plotly.relayout(canvas, theme(canvas._fullLayout, prefix));
  }

  // Missing values last in both directions; texts in the order of the browser's language, with 2 before 10.
  function compare(left, right, ascending) {
    if (left === null || right === null) return (left === null) - (right === null);
    const order = typeof left === "number" && typeof right === "number"
      ? left - right
      : String(left).localeCompare(String(right), undefined, { numeric: true });
    return ascending ? order : -order;
  }

  function keyOf(row, place) {
    const cell = row.cells[place];
    if (cell.dataset.v !== undefined) return Number(cell.dataset.v);
    const text = cell.textContent.trim();
    return text === "–" || text === "" ? null : text;
  }

  function sortable(table) {
    const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
    heads.forEach((head, place) => {
      const button = head.querySelector("button");
      if (!button) return;
      button.addEventListener("click", () => {
        const ascending = head.getAttribute("aria-sort") !== "ascending";
        for (const other of heads) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
        head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
        const keyed = [...body.rows].map((row) => [keyOf(row, place), row]);
        keyed.sort((left, right) => compare(left[0], right[0], ascending));
        body.append(...keyed.map((pair) => pair[1]));
      });
    });
  }

  function filterable(table) {
    const bar = document.querySelector(".filter"), input = bar.querySelector("input");
    const output = bar.querySelector("output"), rows = [...table.tBodies[0].rows];
    const texts = rows.map((row) => [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase());
    const show = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let count = 0;
      rows.forEach((row, place) => {
        const matches = words.every((word) => texts[place].includes(word));
        row.hidden = !matches;
        count += matches;
      });
      output.textContent = words.length ? `${count} of ${rows.length}` : `${rows.length}`;
      output.textContent += rows.length === 1 ? " trial" : " trials";
    };
    input.addEventListener("input", show);
    bar.hidden = false;
    show();
  }

  const table = document.getElementById("trials-table");
  if (table) {
    sortable(table);
    filterable(table);
  }
  Promise.all([...document.querySelectorAll("figure.plot")].map(draw)).then(() => {
    recolour("--");
    document.documentElement.dataset.ready = "true";
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => recolour("--"));
  addEventListener("beforeprint", () => recolour("--print-"));
  addEventListener("afterprint", () => recolour("--"));
})();
