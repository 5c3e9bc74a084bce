// Tabs, what is loaded when one is opened, and the address that names a tab, a row and a filter.
(function () {
  "use strict";
  const app = window.mergebench;
  const tabs = Array.from(document.querySelectorAll(".tabs a"));
  const opened = new Map(); // view -> its tools, once it stands

  // Browsers refuse to fetch files of a page that is a file itself; scripts they load.
  function load(name) {
    return new Promise(function (resolve, reject) {
      if (name in app.data) return resolve(app.data[name]);
      const script = document.createElement("script");
      script.src = "data/" + encodeURIComponent(name) + ".js";
      script.onload = function () { resolve(app.data[name]); };
      script.onerror = function () { reject(new Error(name)); };
      document.head.append(script);
    });
  }

  function address() {
    const whole = location.hash.slice(1);
    const cut = whole.indexOf("?");
    const view = decodeURIComponent(cut < 0 ? whole : whole.slice(0, cut));
    return { view: view, asked: new URLSearchParams(cut < 0 ? "" : whole.slice(cut + 1)) };
  }

  // The address follows filters and sorting without a step of history for each letter.
  app.say = function (view, asked) {
    const query = asked.toString();
    history.replaceState(null, "", "#" + encodeURIComponent(view) + (query ? "?" + query : ""));
  };

  async function build(tab) {
    const name = tab.dataset.view;
    const section = document.getElementById(name);
    const view = await load(name);
    const tables = app.tables(section, view);
    opened.set(name, tables);
    if (view.kind !== "board") return;
    const charts = app.element("div", { class: "charts" });
    const key = section.querySelector(".part ~ .key, .part ~ .part");
    section.insertBefore(charts, key);
    app.pareto(charts, view);
    const ranking = await load(name + "--ranks");
    if (ranking) app.ranking(charts, ranking);
  }

  async function show(focus) {
    const where = address();
    const tab = tabs.find(function (t) { return t.dataset.view === where.view; }) || tabs[0];
    if (!tab) return;
    const name = tab.dataset.view;
    for (const other of tabs) {
      const chosen = other === tab;
      other.setAttribute("aria-selected", String(chosen));
      other.tabIndex = chosen ? 0 : -1;
      document.getElementById(other.dataset.view).hidden = !chosen;
    }
    if (!opened.has(name)) {
      opened.set(name, null);
      try {
        await build(tab);
      } catch (error) {
        opened.delete(name);
        const told = app.element("p", { role: "alert" }, "data/" + error.message + ".js could not be read");
        document.getElementById(name).append(told);
        return;
      }
    }
    const tables = opened.get(name);
    if (tables && where.view === name) tables[0].ask(where.asked);
    if (focus) document.getElementById(name + "--title").focus();
    document.documentElement.dataset.ready = name;
  }

  const list = document.querySelector(".tabs");
  list.setAttribute("role", "tablist");
  for (const tab of tabs) {
    tab.parentElement.setAttribute("role", "presentation");
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", tab.dataset.view);
    document.getElementById(tab.dataset.view).setAttribute("role", "tabpanel");
  }
  list.addEventListener("keydown", function (event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const place = tabs.indexOf(document.activeElement);
    if (!step || place < 0) return;
    event.preventDefault();
    const next = tabs[(place + step + tabs.length) % tabs.length];
    location.hash = next.getAttribute("href");
    next.focus();
  });
  window.addEventListener("hashchange", function () { show(false); });
  show(false);
})();
