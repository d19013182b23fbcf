// The page of a command: what it prints appears as it comes, and its state stays true.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const page = document.querySelector("[data-command]");
  if (!page) return;
  const OUTPUT_MS = 1000;
  const PARTS_MS = 5000;
  const AWAY_MS = 5000;
  const NEAR_END = 24;
  const pane = page.querySelector("[data-printed]");
  const toEnd = page.querySelector("[data-to-end]");
  const isOpen = () => page.querySelector("[data-part] [data-ended]") === null;

  const fetched = async (url) => {
    const answer = await fetch(url, { headers: { "X-Requested-With": "fetch" } });
    if (answer.redirected || answer.status === 403 || answer.status === 404) {
      window.location.reload(); // signed out, or no longer visible
      return null;
    }
    if (!answer.ok) throw new Error(`answered ${answer.status}`);
    return new DOMParser().parseFromString(await answer.text(), "text/html");
  };

  // --- the parts that say where it is ---
  // Ages and the tokens of forms differ each time; without them, the same part is left alone.
  const bare = (html) =>
    html.replace(/>[^<]*<\/time>/g, "></time>").replace(/"(csrfmiddlewaretoken|sent_once)" value="[^"]*"/g, "");
  const shown = new Map();
  const inUse = (part) =>
    part.querySelector("details[open]") !== null ||
    (part.contains(document.activeElement) && document.activeElement.matches("input"));
  let partsAt = Date.now();
  const refreshParts = async () => {
    const found = await fetched(page.dataset.partsFrom);
    if (!found) return;
    partsAt = Date.now();
    page.querySelectorAll("[data-part]").forEach((part) => {
      const name = part.dataset.part;
      const fresh = found.querySelector(`[data-part="${name}"]`);
      if (!fresh || inUse(part)) return;
      const html = bare(fresh.innerHTML);
      if (shown.get(name) === html) return;
      shown.set(name, html);
      part.replaceChildren(...fresh.childNodes);
    });
  };

  // --- what it prints ---
  const atEnd = () => pane.scrollHeight - pane.scrollTop - pane.clientHeight < NEAR_END;
  const pin = () => { pane.scrollTop = pane.scrollHeight; };
  const look = () => { toEnd.hidden = atEnd(); };
  const append = (piece) => {
    const follows = atEnd();
    if (piece.dataset.seen !== pane.dataset.seen) {
      pane.textContent = "";
      pane.dataset.seen = piece.dataset.seen;
      page.querySelector("[data-printed-attempt]").textContent = `attempt ${piece.dataset.seen}`;
    }
    pane.dataset.next = piece.dataset.next;
    if (piece.textContent) {
      page.querySelector("[data-download]").hidden = false;
      pane.append(piece.textContent);
      page.querySelector("[data-printed-nothing]").hidden = true;
    }
    if ("truncated" in piece.dataset) page.querySelector("[data-truncated]").hidden = false;
    if (follows) pin();
    look();
  };
  const refreshOutput = async () => {
    const url = new URL(pane.dataset.printed, window.location.href);
    url.searchParams.set("seen", pane.dataset.seen);
    url.searchParams.set("next", pane.dataset.next);
    const found = await fetched(url);
    const piece = found && found.querySelector("pre");
    if (!piece) return true;
    append(piece);
    if (piece.dataset.version !== page.dataset.version) {
      page.dataset.version = piece.dataset.version;
      partsAt = 0;
    }
    return "done" in piece.dataset;
  };

  let timer = null;
  const round = async () => {
    let pause = OUTPUT_MS;
    let printedAll = false;
    if (!document.hidden) {
      try {
        printedAll = await refreshOutput();
        if (Date.now() - partsAt >= PARTS_MS) await refreshParts();
      } catch {
        pause = AWAY_MS; // the network is away; a later round tries again
      }
    }
    if (isOpen() || !printedAll) timer = setTimeout(round, pause);
    else timer = null;
  };

  pane.addEventListener("scroll", look);
  toEnd.addEventListener("click", pin);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden || timer === null) return;
    clearTimeout(timer);
    round();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") page.querySelectorAll("details[open]").forEach((one) => { one.open = false; });
  });
  pin();
  look();
  if (isOpen()) timer = setTimeout(round, OUTPUT_MS);
});
