// The form of a new batch: fields of the chosen way, and who would get it now.
"use strict";
(() => {
  const followWay = (select) => {
    const show = () =>
      document.querySelectorAll("[data-way]").forEach((part) => {
        part.hidden = part.disabled = part.dataset.way !== select.value;
      });
    select.addEventListener("change", show);
    show();
  };

  const count = (form, into) => {
    let asked = 0;
    let timer;
    const look = async () => {
      const turn = ++asked;
      let answer;
      try {
        answer = await fetch(into.dataset.preview, { method: "POST", body: new FormData(form) });
      } catch {
        return; // the network is away; the next change asks again
      }
      const text = answer.ok ? await answer.text() : "";
      // An older question may be answered last.
      if (turn === asked && !answer.redirected && text) into.innerHTML = text;
    };
    const soon = () => {
      clearTimeout(timer);
      timer = setTimeout(look, 350);
    };
    form.addEventListener("input", soon);
    form.addEventListener("change", soon);
    look();
  };

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("[data-way-choice] select").forEach(followWay);
    const into = document.querySelector("[data-preview]");
    if (into) count(into.closest("form"), into);
  });
})();
