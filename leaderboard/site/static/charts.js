// Pictures of a board: accuracy against what merging costs, and methods by mean rank over tasks.
(function () {
  "use strict";
  const app = window.mergebench;
  const WIDE = 640, HIGH = 400;
  const COSTS = { seconds: ["merge time in s", 1], images: ["images given to the merge", 1], peak: ["peak memory in MB", 1e-6] };

  function svg(name, attributes, text) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const key of Object.keys(attributes || {})) made.setAttribute(key, attributes[key]);
    if (text !== undefined) made.textContent = text;
    return made;
  }
  function short(number) {
    return number >= 1e4 ? Number(number.toPrecision(2)).toLocaleString("en") : String(Number(number.toPrecision(3)));
  }

  // Where a cost stands: by its logarithm, nothing at all one step before the least.
  function scale(costs) {
    const some = costs.filter(function (c) { return c > 0; });
    let low = Math.floor(Math.log10(Math.min.apply(null, some))), high = Math.ceil(Math.log10(Math.max.apply(null, some)));
    if (!some.length) { low = 0; high = 1; }
    if (high === low) high = low + 1;
    const zero = costs.some(function (c) { return c <= 0; });
    const first = zero ? low - 0.6 : low;
    const ticks = [];
    for (let p = low; p <= high; p += 1) ticks.push(Math.pow(10, p));
    return {
      ticks: zero ? [0].concat(ticks) : ticks,
      share: function (c) { return ((c > 0 ? Math.log10(c) : first) - first) / (high - first); },
    };
  }

  // Rows that no other row beats in both; of two alike both.
  app.front = function (rows, cost) {
    return rows.filter(function (row) {
      return !rows.some(function (other) {
        const no_dearer = other.point[cost] <= row.point[cost], no_worse = other.point.average >= row.point.average;
        return no_dearer && no_worse && (other.point[cost] < row.point[cost] || other.point.average > row.point.average);
      });
    });
  };

  function chart(holder, title) {
    const figure = app.element("figure", { class: "chart" });
    figure.append(app.element("h3", {}, title));
    holder.append(figure);
    return figure;
  }

  app.pareto = function (holder, view) {
    const rows = view.tables[0].rows.filter(function (row) { return row.point; });
    const there = Object.keys(COSTS).filter(function (cost) {
      return rows.some(function (row) { return row.role === "method" && row.point[cost] !== null; });
    });
    if (!there.length) return;
    const figure = chart(holder, "Accuracy against what merging costs");
    const label = app.element("label", {}, "against ");
    const select = app.element("select", { "aria-label": "cost" });
    for (const cost of there) select.append(app.element("option", { value: cost }, COSTS[cost][0]));
    label.append(select);
    const place = app.element("div", { class: "scroll" });
    const told = app.element("p", { class: "told", role: "status" });
    figure.append(label, place, told);
    function redraw() {
      place.replaceChildren(scatter(rows, select.value, told));
      told.textContent = "The line joins the methods that no other beats in both; bars are 95 % intervals.";
    }
    select.addEventListener("change", redraw);
    redraw();
  };

  function scatter(rows, cost, told) {
    const [name, unit] = COSTS[cost];
    const shown = rows.filter(function (row) { return row.point[cost] !== null && row.role !== "ceiling" && row.role !== "joint"; });
    const methods = shown.filter(function (row) { return row.role === "method"; });
    const ranked = methods.filter(function (row) { return row.track !== "given"; });
    const front = app.front(ranked, cost).sort(function (a, b) { return a.point[cost] - b.point[cost]; });
    const along = scale(shown.map(function (row) { return row.point[cost] * unit; }));
    // One that is far below all others would press these to one height: it stands at the edge, and says how low it is.
    const all = methods.map(function (row) { return row.point.average; }).sort(function (a, b) { return a - b; });
    const middle = all[Math.floor(all.length / 2)], best = all[all.length - 1];
    const floor = middle - Math.max(3 * (best - middle), 0.02);
    const lowest = shown.map(function (row) { return row.point.low; }).filter(function (v) { return v >= floor; });
    const low = Math.max(0, Math.floor(20 * Math.min.apply(null, lowest.concat([middle]))) / 20);
    const high = Math.max(low + 0.05, Math.ceil(20 * Math.max.apply(null, shown.map(function (row) { return row.point.high; }))) / 20);
    const left = 50, right = WIDE - 20, top = 30, bottom = HIGH - 46;
    const x = function (row) { return left + 12 + (right - left - 24) * along.share(row.point[cost] * unit); };
    const y = function (value) { return bottom - (bottom - top) * Math.max(value - low, 0) / (high - low); };
    const picture = svg("svg", { viewBox: "0 0 " + WIDE + " " + HIGH, role: "group", "aria-label": "accuracy in % against " + name });
    const step = high - low > 0.3 ? 0.1 : 0.05;
    for (let v = low; v <= high + 1e-9; v += step) {
      picture.append(svg("line", { class: "grid", x1: left, x2: right, y1: y(v), y2: y(v) }));
      picture.append(svg("text", { x: left - 6, y: y(v) + 4, "text-anchor": "end" }, Math.round(100 * v)));
    }
    for (const tick of along.ticks) {
      const at = left + 12 + (right - left - 24) * along.share(tick);
      picture.append(svg("line", { class: "axis", x1: at, x2: at, y1: bottom, y2: bottom + 5 }));
      picture.append(svg("text", { x: at, y: bottom + 19, "text-anchor": "middle" }, short(tick)));
    }
    picture.append(svg("line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom }));
    picture.append(svg("text", { x: (left + right) / 2, y: HIGH - 6, "text-anchor": "middle" }, name));
    picture.append(svg("text", { x: 4, y: 11 }, "accuracy in %"));
    let line = "";
    front.forEach(function (row, i) {
      line += (i ? "H" + x(row) + "V" : "M" + x(row) + ",") + y(row.point.average);
    });
    if (front.length) picture.append(svg("path", { class: "step", d: line + "H" + right }));
    for (const row of shown) {
      const ahead = front.includes(row), kind = (row.role === "method" ? "" : "reference ") + (ahead ? "front" : "");
      const says = row.label + ": " + (100 * row.point.average).toFixed(1) + " %, " + short(row.point[cost] * unit) + " (" + name + ")" + (ahead ? ", on the front" : "");
      const link = svg("a", { href: row.page, class: kind, "aria-label": says });
      link.append(svg("title", {}, says));
      link.append(svg("line", { class: "error", x1: x(row), x2: x(row), y1: y(row.point.low), y2: y(row.point.high) }));
      const across = x(row), up = y(row.point.average);
      if (row.point.average < low) link.append(svg("path", { class: "point", d: "M" + (across - 6) + "," + (up - 10) + "h12l-6,10z" }));
      else link.append(svg("circle", { class: "point", cx: across, cy: up, r: 5 }));
      for (const event of ["focus", "mouseenter"]) link.addEventListener(event, function () { told.textContent = says; });
      picture.append(link);
    }
    const named = front.concat(shown.filter(function (row) { return row.role !== "method" || row.point.average < low; }));
    names(picture, named, shown, x, y, [left, top - 10, right, bottom]);
    return picture;
  }

  // Names beside their points, where they cover neither points nor names; those that find no place are told on focus.
  function names(picture, rows, shown, x, y, edges) {
    const taken = shown.map(function (row) {
      const at = x(row), up = y(row.point.average);
      return [at - 5, up - 5, at + 5, up + 5];
    });
    for (const row of rows) {
      const text = row.label.length > 34 ? row.label.slice(0, 33) + "…" : row.label;
      const wide = 6.6 * text.length, at = x(row), up = y(row.point.average);
      const places = [];
      for (const shift of [-6, 14, -19, 27]) places.push([at + 8, up + shift, "start"], [at - 8, up + shift, "end"]);
      places.push([at, up - 12, "middle"], [at, up + 22, "middle"]);
      const place = places.find(function (p) {
        const first = p[2] === "start" ? p[0] : p[2] === "end" ? p[0] - wide : p[0] - wide / 2;
        const box = [first, p[1] - 10, first + wide, p[1] + 3];
        const inside = box[0] >= edges[0] && box[1] >= edges[1] && box[2] <= edges[2] && box[3] <= edges[3];
        const free = taken.every(function (b) { return b[2] <= box[0] || box[2] <= b[0] || b[3] <= box[1] || box[3] <= b[1]; });
        if (inside && free) taken.push(box);
        return inside && free;
      });
      if (place) picture.append(svg("text", { x: place[0], y: place[1], "text-anchor": place[2], "aria-hidden": "true" }, text));
    }
  }

  app.ranking = function (holder, test) {
    const figure = chart(holder, "Methods by mean rank over tasks");
    const count = test.labels.length, half = Math.ceil(count / 2), bars = test.alike.length;
    const left = 205, right = WIDE - 205, start = 62, first = start + 12 + 9 * bars, row = 17;
    const high = first + row * half + 8;
    const x = function (rank) { return left + (right - left) * (rank - 1) / Math.max(count - 1, 1); };
    const picture = svg("svg", { viewBox: "0 0 " + WIDE + " " + high, role: "img" });
    const told = "Mean rank over " + test.tasks + " tasks, 1 is best. Methods under one bar are not told apart (Nemenyi, 5 %: critical difference " +
      test.distance.toFixed(1) + "). Friedman's test that all are alike: p = " + test.p.toPrecision(2) + ".";
    picture.append(svg("title", {}, told));
    picture.append(svg("line", { class: "axis", x1: x(1), x2: x(count), y1: start, y2: start }));
    const ticks = count > 10 ? [1] : [];
    for (let r = count > 10 ? 5 : 1; r <= count; r += count > 10 ? 5 : 1) ticks.push(r);
    for (const tick of ticks) {
      picture.append(svg("line", { class: "axis", x1: x(tick), x2: x(tick), y1: start, y2: start - 6 }));
      picture.append(svg("text", { x: x(tick), y: start - 10, "text-anchor": "middle" }, tick));
    }
    const reach = x(Math.min(1 + test.distance, count));
    picture.append(svg("line", { class: "bar", x1: x(1), x2: reach, y1: 26, y2: 26 }));
    picture.append(svg("text", { x: x(1), y: 16 }, "critical difference " + test.distance.toFixed(1)));
    test.alike.forEach(function (ends, i) {
      const at = start + 9 + 9 * i;
      picture.append(svg("line", { class: "bar", x1: x(test.ranks[ends[0]]), x2: x(test.ranks[ends[1]]), y1: at, y2: at }));
    });
    test.labels.forEach(function (label, i) {
      const near = i < half, at = first + row * (near ? i : count - 1 - i), end = near ? left - 8 : right + 8;
      picture.append(svg("path", { class: "leader", d: "M" + x(test.ranks[i]) + "," + start + "V" + at + "H" + end }));
      const name = label.length > 26 ? label.slice(0, 25) + "…" : label, rank = test.ranks[i].toFixed(1);
      const text = svg("text", { x: near ? end - 3 : end + 3, y: at + 4, "text-anchor": near ? "end" : "start" }, near ? name + "  " + rank : rank + "  " + name);
      text.append(svg("title", {}, label + ", mean rank " + rank));
      picture.append(text);
    });
    const scroll = app.element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "methods by mean rank" });
    scroll.append(picture);
    figure.append(scroll, app.element("p", { class: "told" }, told));
  };
})();
