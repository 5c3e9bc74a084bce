// Tables: made of data where the page does not hold them, sorted by DataTables, filtered by what is known of each row.
(function () {
  "use strict";
  const app = window.mergebench;
  const PAGE = 200; // rows at once
  const FACTS = [["family", "family"], ["needs", "needs"], ["fidelity", "fidelity"], ["year", "year"], ["track", "track"], ["tier", "tier"]];

  // Texts are other people's: they become text nodes and attributes, never markup.
  app.element = function (name, attributes, text) {
    const made = document.createElement(name);
    for (const key of Object.keys(attributes || {})) made.setAttribute(key, attributes[key]);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const element = app.element;

  function drawn(part, view) {
    const scroll = element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": part.title || view.title });
    const table = element("table", { class: "results" });
    table.append(element("caption", { class: "unseen" }, part.title || view.title));
    const head = element("tr");
    for (const column of part.columns) {
      const cell = element("th", { scope: "col", class: column.number ? "number" : "name" }, column.title);
      if (column.hint) cell.title = column.hint;
      head.append(cell);
    }
    const top = element("thead");
    top.append(head);
    const body = element("tbody");
    for (const row of part.rows) body.append(line(row, part, view));
    table.append(top, body);
    scroll.append(table);
    return scroll;
  }

  function line(row, part, view) {
    const made = element("tr", { "data-row": row.id, class: row.role || "method" });
    row.cells.forEach(function (text, i) {
      const column = part.columns[i];
      const head = column.key === "method" || (i === 0 && view.kind !== "board");
      const cell = element(head ? "th" : "td", { class: column.number ? "number" : "name" });
      if (head) cell.setAttribute("scope", "row");
      const order = row.order[i];
      cell.setAttribute("data-order", order === null ? "" : order);
      if (row.heat && row.heat[i] !== null) cell.style.setProperty("--heat", row.heat[i]);
      if (column.key === "method" && row.page) {
        cell.append(element("a", { href: row.page, title: row.settings }, text), " ");
        const link = "#" + view.id + "?row=" + encodeURIComponent(row.id);
        cell.append(element("a", { class: "link", href: link, "aria-label": "link to the row " + text }, "#"));
        if (row.paper) cell.append(" ", element("small", {}, row.paper.replaceAll("arXiv:", "")));
        if (row.leading) cell.append(" ", element("small", { class: "mark" }, "≈ best"));
        if (row.failure) cell.append(" ", element("small", {}, row.failure));
      } else {
        cell.textContent = text;
      }
      made.append(cell);
    });
    return made;
  }

  function values(rows, key) {
    const found = new Set();
    for (const row of rows) for (const value of [].concat(row[key] === undefined ? [] : row[key])) if (value !== "") found.add(String(value));
    return Array.from(found).sort();
  }

  // One table with its tools; `ask` sets filter, order and row from an address.
  function equip(part, view, holder) {
    const table = holder.querySelector("table");
    const tools = element("form", { class: "tools", "aria-label": "filter and export" });
    const status = element("p", { role: "status" });
    const choices = {};
    let asked = new URLSearchParams();
    const main = part === view.tables[0];

    tools.addEventListener("submit", function (event) { event.preventDefault(); });
    const search = element("input", { type: "search", name: "q", autocomplete: "off" });
    const label = element("label", {}, "search");
    label.append(search);
    if (part.rows.length > 5) tools.append(label);
    for (const [key, told] of FACTS) {
      const there = values(part.rows, key);
      if (there.length < 2 && !(key === "needs" && there.length)) continue;
      const select = element("select", { name: key });
      select.append(element("option", { value: "" }, "all"));
      for (const value of there) select.append(element("option", { value: value }, value));
      if (key === "needs") select.append(element("option", { value: "-" }, "nothing"));
      const labelled = element("label", {}, told);
      labelled.append(select);
      tools.append(labelled);
      choices[key] = select;
    }

    function fits(row) {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const text = (row.label + " " + (row.paper || "") + " " + row.cells.join(" ")).toLowerCase();
      if (!words.every(function (word) { return text.includes(word); })) return false;
      return Object.keys(choices).every(function (key) {
        const wanted = choices[key].value;
        if (!wanted) return true;
        const held = [].concat(row[key] === undefined ? [] : row[key]).map(String);
        return wanted === "-" ? held.length === 0 : held.includes(wanted);
      });
    }

    const grid = new DataTable(table, {
      layout: { topStart: null, topEnd: null, bottomStart: null, bottomEnd: part.rows.length > PAGE ? "paging" : null },
      paging: part.rows.length > PAGE, pageLength: PAGE, order: [], autoWidth: false, info: false,
      columnDefs: [{ targets: "_all", orderSequence: ["desc", "asc"] }, { targets: 0, orderSequence: ["asc", "desc"] }],
    });
    grid.search.fixed("facts", function (text, data, index) { return fits(part.rows[index]); });

    function tell() {
      const there = grid.rows({ search: "applied" }).count();
      status.textContent = there === part.rows.length ? there + " rows" : there + " of " + part.rows.length + " rows";
    }
    function keep() {
      if (!main) return;
      for (const key of ["q"].concat(Object.keys(choices))) {
        const value = key === "q" ? search.value : choices[key].value;
        if (value) asked.set(key, value); else asked.delete(key);
      }
      const order = grid.order()[0];
      if (order && order[1]) asked.set("sort", part.columns[order[0]].key + ":" + order[1]); else asked.delete("sort");
      app.say(view.id, asked);
    }
    tools.addEventListener("input", function () { grid.draw(); tell(); keep(); });
    let quiet = true; // what an address asks for is not told back to it
    grid.on("order", function () { if (!quiet) keep(); });
    tools.append(status, app.exports(function () {
      const places = grid.rows({ search: "applied", order: "applied" }).indexes().toArray();
      return { title: part.title || view.title, columns: part.columns, rows: places.map(function (i) { return part.rows[i]; }) };
    }, view.id));
    holder.prepend(tools);
    tell();
    quiet = false;

    return {
      ask: function (wanted) {
        quiet = true;
        asked = new URLSearchParams(wanted);
        search.value = wanted.get("q") || "";
        for (const key of Object.keys(choices)) choices[key].value = wanted.get(key) || "";
        const [key, way] = (wanted.get("sort") || "").split(/:(?=asc$|desc$)/);
        const place = part.columns.findIndex(function (column) { return column.key === key; });
        grid.order(place < 0 ? [] : [[place, way === "asc" ? "asc" : "desc"]]);
        grid.draw();
        quiet = false;
        tell();
        for (const line of table.querySelectorAll("tr.picked")) line.classList.remove("picked");
        const index = part.rows.findIndex(function (row) { return row.id === wanted.get("row"); });
        if (index < 0) return;
        const position = grid.rows({ search: "applied", order: "applied" }).indexes().toArray().indexOf(index);
        if (position >= 0 && part.rows.length > PAGE) grid.page(Math.floor(position / PAGE)).draw(false);
        const line = grid.row(index).node();
        line.classList.add("picked");
        line.scrollIntoView({ block: "center" });
      },
    };
  }

  // All tables of a view, those that the page lacks made first.
  app.tables = function (section, view) {
    const later = section.querySelector(".later");
    if (later) {
      later.remove();
      if (view.lead) section.append(element("p", {}, view.lead));
      if (view.notes.length) {
        const notes = element("details", { class: "notes" });
        const about = view.kind === "board" ? "How it was measured, tuning, and the published order" : "How it was measured";
        notes.append(element("summary", {}, about));
        for (const note of view.notes) notes.append(element("p", {}, note));
        section.append(notes);
      }
      if (view.picture) {
        const figure = element("figure");
        figure.append(element("img", { src: view.picture, alt: view.title }));
        section.append(figure);
      }
      view.tables.forEach(function (part, i) {
        const holder = element("div", { class: "part", "data-part": i });
        if (part.title) holder.append(element("h3", {}, part.title));
        holder.append(drawn(part, view));
        section.append(holder);
        if (i === 0 && view.kind === "board") section.append(element("p", { class: "key" }, view.measured));
      });
    }
    return view.tables.map(function (part, i) {
      const holder = section.querySelector('[data-part="' + i + '"]');
      const made = equip(part, view, holder);
      const head = holder.querySelector("h3");
      if (head) holder.prepend(head);
      return made;
    });
  };
})();
