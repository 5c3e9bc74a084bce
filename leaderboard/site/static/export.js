// A table as it is shown, filtered and sorted, in the formats that people take along. It is written here and not taken
// from `mergebench table`, as only the page knows which rows are left and in which order, and cells are texts here,
// without the numbers and marks that papers' tables are made from; how cells are made safe follows `media.py`.
(function () {
  "use strict";
  const app = window.mergebench = { data: {} }; // this script is the first; data put themselves into it

  // What spreadsheets take for the beginning of a formula, in wide letters too.
  function csvCell(text) {
    const formula = /^\s*[=+\-@＝＋－＠]/.test(text) && text.trim() !== "-" && !Number.isFinite(Number(text));
    const safe = formula ? "'" + text : text;
    return /[",\n\r]/.test(safe) ? '"' + safe.replace(/"/g, '""') + '"' : safe;
  }
  function markdownCell(text) {
    return text.replace(/</g, "&lt;").replace(/\]\(/g, "]\\(").replace(/\|/g, "\\|");
  }
  const SPECIAL = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "±": "$\\pm$", "<": "\\textless{}", ">": "\\textgreater{}", "≈": "$\\approx$" };
  function latexCell(text) {
    return text.replace(/[\\~^±<>≈&%$#_{}]/g, function (c) { return SPECIAL[c] || "\\" + c; });
  }

  const FORMATS = {
    CSV: ["csv", "text/csv", function (table) {
      return lines(table).map(function (line) { return line.map(csvCell).join(","); }).join("\n") + "\n";
    }],
    JSON: ["json", "application/json", function (table) {
      const rows = table.rows.map(function (row) {
        const made = {};
        table.columns.forEach(function (column, i) { made[column.title] = column.number ? value(row, i) : row.cells[i]; });
        return made;
      });
      return JSON.stringify({ title: table.title, rows: rows }, null, 1) + "\n";
    }],
    Markdown: ["md", "text/markdown", function (table) {
      const [head, ...body] = lines(table).map(function (line) { return "| " + line.map(markdownCell).join(" | ") + " |"; });
      const rule = "| " + table.columns.map(function (c) { return c.number ? "---:" : "---"; }).join(" | ") + " |";
      return [head, rule].concat(body).join("\n") + "\n";
    }],
    LaTeX: ["tex", "application/x-tex", function (table) {
      const [head, ...body] = lines(table).map(function (line) { return line.map(latexCell).join(" & ") + " \\\\"; });
      const places = table.columns.map(function (c) { return c.number ? "r" : "l"; }).join("");
      const parts = ["% needs \\usepackage{booktabs}", "\\begin{tabular}{" + places + "}", "\\toprule", head, "\\midrule"];
      return parts.concat(body, ["\\bottomrule", "\\end{tabular}"]).join("\n") + "\n";
    }],
  };

  function lines(table) {
    return [table.columns.map(function (c) { return c.title; })].concat(table.rows.map(function (row) { return row.cells; }));
  }
  // A cell that shows more than a number (an interval) stays text; one that shows nothing is null.
  function value(row, i) {
    const text = row.cells[i];
    if (text === "-") return null;
    const number = Number(text.replace(/,/g, ""));
    return Number.isFinite(number) ? number : text;
  }

  app.formats = FORMATS;
  app.exports = function (current, name) {
    const group = app.element("div", { class: "exports", role: "group", "aria-label": "export this table" });
    for (const format of Object.keys(FORMATS)) {
      const [ending, type, write] = FORMATS[format];
      const button = app.element("button", { type: "button" }, format);
      button.addEventListener("click", function () {
        const file = new Blob([write(current())], { type: type + ";charset=utf-8" });
        const link = app.element("a", { href: URL.createObjectURL(file), download: name + "." + ending });
        link.click();
        URL.revokeObjectURL(link.href);
      });
      group.append(button);
    }
    return group;
  };
})();
