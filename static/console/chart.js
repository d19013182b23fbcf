// The last hours of a device: processor, memory, disk in percent, temperature in degrees.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const place = document.querySelector("[data-chart]");
  if (!place) return;
  const LINES = [
    { name: "cpu_percent", light: "#2f5be0", dark: "#7ea2ff", scale: "%" },
    { name: "mem_percent", light: "#0f8a5f", dark: "#4cd3a0", scale: "%" },
    { name: "disk_percent", light: "#8a5a00", dark: "#e0b04c", scale: "%" },
    { name: "temperature_c", light: "#c2334d", dark: "#ff8fa3", scale: "°C" },
  ];
  let plot = null;
  let data = null;
  let hours = 6;

  const isDark = () => document.documentElement.classList.contains("dark");
  const width = () => Math.max(240, place.clientWidth);
  const number = (unit) => (_plot, ticks) => ticks.map((tick) => `${tick} ${unit}`);

  const options = () => {
    const ink = isDark() ? "#9aa4b2" : "#667085";
    const grid = { stroke: isDark() ? "#ffffff14" : "#0000000f", width: 1 };
    const axis = { stroke: ink, grid, ticks: { show: false }, font: "12px Inter, sans-serif" };
    const warm = data.series.temperature_c.some((value) => value !== null);
    return {
      width: width(),
      height: 250,
      legend: { show: false },
      cursor: { points: { size: 6 }, drag: { setScale: false } },
      scales: { x: { range: [data.from, data.to] }, "%": { range: [0, 100] }, "°C": { range: [0, 100] } },
      axes: [
        { ...axis, size: 34, space: 70, values: [[86400, "{D} {MMM}"], [3600, "{HH}:{mm}", "\n{D} {MMM}"], [60, "{HH}:{mm}"], [1, "{HH}:{mm}:{ss}"]].map(([step, text]) => [step, text, null, null, null, null, null, null, 0]) },
        { ...axis, scale: "%", size: 52, values: number("%") },
        { ...axis, scale: "°C", side: 1, size: 52, show: warm, grid: { show: false }, values: number("°C") },
      ],
      series: [
        {},
        ...LINES.map((line) => ({
          scale: line.scale,
          stroke: isDark() ? line.dark : line.light,
          width: 1.75,
          points: { show: false },
        })),
      ],
      hooks: { setCursor: [showValues] },
    };
  };

  const showValues = (drawn) => {
    const at = drawn.cursor.idx;
    document.querySelectorAll("[data-line]").forEach((label) => {
      const values = data.series[label.dataset.line];
      const value = at === null || at === undefined ? null : values[at];
      let shown = label.querySelector("b");
      if (!shown) label.append(shown = document.createElement("b"));
      shown.textContent = value === null || value === undefined ? "" : ` ${value}`;
    });
    const moment = document.querySelector("[data-chart-moment]");
    moment.textContent = at === null || at === undefined ? "" : new Date(data.at[at] * 1000).toLocaleString();
  };

  const draw = () => {
    plot?.destroy();
    plot = null;
    const empty = Object.values(data.series).every((values) => values.every((value) => value === null));
    place.querySelector(".fp-empty").hidden = !empty;
    document.querySelectorAll("[data-line]").forEach((label) => {
      const line = LINES.find((one) => one.name === label.dataset.line);
      label.style.setProperty("--line", isDark() ? line.dark : line.light);
      label.hidden = !data.series[line.name].some((value) => value !== null);
    });
    if (empty) return;
    plot = new uPlot(options(), [data.at, ...LINES.map((line) => data.series[line.name])], place);
  };

  const load = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(`${place.dataset.chart}?hours=${hours}`);
      if (!answer.ok || answer.redirected) return;
      data = await answer.json();
    } catch {
      return; // the network is away; the next round tries again
    }
    draw();
  };

  document.querySelectorAll("[data-hours]").forEach((button) => {
    button.addEventListener("click", () => {
      hours = Number(button.dataset.hours);
      document.querySelectorAll("[data-hours]").forEach((one) =>
        one.setAttribute("aria-pressed", String(one === button)));
      load();
    });
  });
  new ResizeObserver(() => plot?.setSize({ width: width(), height: 250 })).observe(place);
  new MutationObserver(() => { if (data) draw(); })
    .observe(document.documentElement, { attributes: true, attributeFilter: ["class"] });
  setInterval(load, 30000);
  load();
});
