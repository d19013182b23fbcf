// The moving parts of the console's pages. Everything is found by data attributes.
"use strict";
(() => {
  const each = (root, selector, act) => root.querySelectorAll(selector).forEach(act);

  // --- moments: “3 min ago” stays true, and the hover text tells the local time ---
  const STEPS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const distance = (moment) => {
    const seconds = (Date.now() - moment.getTime()) / 1000;
    const whole = Math.floor(Math.abs(seconds));
    if (whole < 5) return "just now";
    const [size, unit] = STEPS.find(([step]) => whole >= step);
    const text = `${Math.floor(whole / size)} ${unit}`;
    return seconds > 0 ? `${text} ago` : `in ${text}`;
  };
  const tellTime = (root) =>
    each(root, "time.fp-moment", (element) => {
      const moment = new Date(element.dateTime);
      element.textContent = distance(moment);
      if (!element.dataset.exact) {
        element.dataset.exact = element.title;
        element.title = `${element.title}\n${moment.toLocaleString()} here`;
      }
    });

  // --- parts that are fetched again while the page is looked at: when the portal's stream says
  // that something happened, else every few seconds ---
  const refresh = async (part) => {
    if (document.hidden || part.contains(document.activeElement)) return;
    let answer;
    try {
      answer = await fetch(part.dataset.live, { headers: { "X-Requested-With": "fetch" } });
    } catch {
      return; // the network is away; the next round tries again
    }
    if (answer.redirected || answer.status === 403 || answer.status === 404) {
      window.location.reload(); // signed out, or no longer visible
      return;
    }
    if (!answer.ok) return;
    const text = await answer.text();
    const open = [...part.querySelectorAll("details[id][open]")].map((one) => one.id);
    // A part with an id is cut out of the whole page.
    const whole = part.id && new DOMParser().parseFromString(text, "text/html").getElementById(part.id);
    part.innerHTML = whole ? whole.innerHTML : text;
    open.forEach((id) => document.getElementById(id)?.setAttribute("open", ""));
    tellTime(part);
    if (part.querySelector("[data-ended]")) part.stop();
  };
  const NEWS = ["rollout", "rollout_event", "update", "batch", "command", "device_event", "missed"];
  // Seconds between two rounds while the stream tells what happens: a net, should it be silent.
  const SELDOM = 30;
  const keepLive = (part) => {
    const every = Number(part.dataset.every || 5);
    const rest = Number(part.dataset.rest || 1);
    let round = null;
    let turn = null;
    let stream = null;
    const pace = (seconds) => {
      clearInterval(round);
      round = setInterval(() => refresh(part), seconds * 1000);
    };
    let last = 0;
    const now = () => {
      turn = null;
      last = Date.now();
      refresh(part);
    };
    // What comes together is shown together, and at most once in a rest.
    const soon = () => {
      turn ??= setTimeout(now, Math.max(100, last + rest * 1000 - Date.now()));
    };
    // A page nobody looks at holds no connection: browsers have few for one host.
    const listen = () => {
      if (part.dataset.stream === undefined || document.hidden) return;
      stream = new EventSource(`/api/v1/stream?${part.dataset.stream}`);
      stream.addEventListener("hello", () => pace(Math.max(every, SELDOM)));
      stream.addEventListener("error", () => pace(every));
      NEWS.forEach((name) => stream.addEventListener(name, soon));
    };
    const turned = () => {
      stream?.close();
      pace(every);
      if (!document.hidden) refresh(part);
      listen();
    };
    part.stop = () => {
      clearInterval(round);
      clearTimeout(turn);
      stream?.close();
      document.removeEventListener("visibilitychange", turned);
    };
    if (part.querySelector("[data-ended]")) return;
    document.addEventListener("visibilitychange", turned);
    pace(every);
    listen();
    if (part.dataset.soon !== undefined) refresh(part);
  };

  // --- devices that arrive while “Add a device” is open ---
  const watchArrivals = (part) => {
    const known = new Set();
    const look = async () => {
      if (document.hidden) return;
      let answer;
      try {
        answer = await fetch(part.dataset.arrivals);
      } catch {
        return;
      }
      if (!answer.ok || answer.redirected) return;
      const said = await answer.json();
      said.devices.filter((one) => !known.has(one.url)).forEach((one) => {
        known.add(one.url);
        const line = document.createElement("p");
        line.className = "fp-note fp-note-good";
        const link = document.createElement("a");
        link.className = "fp-link";
        link.href = one.url;
        link.textContent = one.device_id;
        line.append(link, " has enrolled.");
        part.append(line);
      });
      if (said.uses >= said.max_uses) {
        clearInterval(timer);
        document.querySelector("[data-waiting]")?.remove();
      }
    };
    const timer = setInterval(look, 3000);
    look();
  };

  // --- copying ---
  const copy = async (button) => {
    const source = document.querySelector(button.dataset.copies);
    const text = source.textContent.trim();
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Pages without TLS may not use the clipboard: select, so that one key is enough.
      window.getSelection().selectAllChildren(source);
      if (!document.execCommand("copy")) return;
    }
    const before = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = before; }, 1500);
  };

  // --- fields of the chosen kind of command ---
  const followKind = (select) => {
    const show = () =>
      each(document, "[data-kind]", (part) => { part.hidden = part.disabled = part.dataset.kind !== select.value; });
    select.addEventListener("change", show);
    show();
  };

  // --- arguments of the chosen script ---
  const followScript = (select) => {
    const show = () =>
      each(document, "[data-arguments]", (part) => { part.hidden = part.disabled = part.dataset.arguments !== select.value; });
    select.addEventListener("change", show);
    show();
  };

  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-opens]");
    if (opener) document.querySelector(opener.dataset.opens).showModal();
    const closer = event.target.closest("[data-closes]");
    if (closer) closer.closest("dialog").close();
    const copier = event.target.closest("[data-copies]");
    if (copier) copy(copier);
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submits]")) event.target.form.requestSubmit();
  });
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("[data-once]")) return;
    // After this turn, so that the button's own value is still sent.
    setTimeout(() => each(event.target, "button[type=submit]", (button) => { button.disabled = true; }));
  });
  // Back from the browser's memory: what was disabled works again.
  window.addEventListener("pageshow", () =>
    each(document, "[data-once] button[type=submit]", (button) => { button.disabled = false; }));
  document.addEventListener("DOMContentLoaded", () => {
    tellTime(document);
    setInterval(() => tellTime(document), 10000);
    each(document, "[data-live]", keepLive);
    each(document, "[data-arrivals]", watchArrivals);
    each(document, "[data-kind-choice] select", followKind);
    each(document, "[data-script-choice] select", followScript);
  });
})();
