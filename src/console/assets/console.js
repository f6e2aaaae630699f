// Only makes nicer what works without it: figures that follow the server, forms that are sent when something is chosen.
"use strict";
(() => {
  // <form data-send>: a choice in it sends it.
  for (const form of document.querySelectorAll("form[data-send]")) {
    form.addEventListener("change", (event) => {
      if (event.target.matches("select,input[type=checkbox]")) form.requestSubmit();
    });
  }
  // <input type=checkbox data-all="NAME">: ticks every box of that name in its form.
  for (const all of document.querySelectorAll("input[data-all]")) {
    all.addEventListener("change", () => {
      const boxes = all.form ? all.form.elements : document.querySelectorAll("input");
      for (const box of boxes) if (box.type === "checkbox" && box.name === all.dataset.all) box.checked = all.checked;
    });
  }
  // <form data-ask="…">: is asked once more before it is sent.
  for (const form of document.querySelectorAll("form[data-ask]")) {
    form.addEventListener("submit", (event) => {
      if (!window.confirm(form.dataset.ask)) event.preventDefault();
    });
  }
  // <div data-live="/path" data-every="5">: what has data-value="key" in it shows that key of the path's JSON.
  for (const live of document.querySelectorAll("[data-live]")) {
    const every = Math.max(2, Number(live.dataset.every) || 5) * 1000;
    let faults = 0;
    const show = (values) => {
      for (const place of live.querySelectorAll("[data-value]")) {
        const value = values[place.dataset.value];
        if (value !== undefined && value !== null && place.textContent !== String(value)) place.textContent = value;
      }
      for (const line of live.querySelectorAll("[data-points]")) {
        const points = values[line.dataset.points];
        if (typeof points === "string") line.setAttribute("points", points);
      }
      for (const bar of live.querySelectorAll("progress[data-progress]")) {
        const value = values[bar.dataset.progress];
        if (typeof value === "number") bar.value = value;
      }
      if (values.over === true && live.hasAttribute("data-reload")) location.reload();
    };
    const ask = async () => {
      if (document.hidden) return;
      try {
        const answer = await fetch(live.dataset.live, { credentials: "same-origin", headers: { accept: "application/json" } });
        if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
        show(await answer.json());
        faults = 0;
      } catch {
        faults += 1;
      }
      live.classList.toggle("stale", faults > 2);
      if (faults > 20) clearInterval(timer);
    };
    const timer = setInterval(ask, every);
  }
})();
