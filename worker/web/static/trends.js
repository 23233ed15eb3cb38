// Draws the charts of /operations/trends with uPlot, in the page's own colours; again when these or the width change.
(async () => {
  const places = [...document.querySelectorAll("[data-chart]")];
  if (!places.length) return;
  const answer = await fetch(`/operations/trends.json${location.search}`);
  if (!answer.ok) return;
  const { days, charts } = await answer.json();
  const drawn = [];

  function options(chart, width) {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const shown = (unit, value) => (value == null ? "none" : unit === "share" ? value.toFixed(3) : `${+value.toFixed(2)}`);
    const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 } };
    const data = [days], series = [{ value: (_, at) => (at == null ? "" : new Date(at * 1e3).toISOString().slice(0, 10)), label: "day" }], bands = [];
    chart.series.forEach((one, number) => {
      const ink = colour(`--chart-${(number % 5) + 1}`);
      data.push(one.values);
      series.push({ label: one.label, stroke: ink, width: 2, points: { show: days.length < 45, size: 5, fill: ink },
        dash: number > 4 ? [6, 4] : undefined, value: (_, value, __, at) => (at == null ? "" : shown(chart.unit, value)) });
      if (one.low) {
        const first = data.length;
        data.push(one.high, one.low);
        series.push({ class: "edge", stroke: null, width: 0, points: { show: false } }, { class: "edge", stroke: null, width: 0, points: { show: false } });
        bands.push({ series: [first, first + 1], fill: `color-mix(in srgb, ${ink} 14%, transparent)` });
      }
    });
    if (chart.limit != null) {
      data.push(days.map(() => chart.limit));
      series.push({ label: "limit", value: () => `${chart.limit}`, stroke: colour("--flag"), width: 1.5, dash: [6, 4], points: { show: false } });
    }
    const range = chart.top ? [0, chart.top] : (_, low, high) => [Math.min(0, low ?? 0), (high || 1) * 1.08];
    return [{
      width, height: 230, series, bands, cursor: { y: false }, legend: { live: true },
      tzDate: (at) => uPlot.tzDate(new Date(at * 1e3), "UTC"),
      scales: { y: { range } },
      axes: [{ ...axis, values: "{YYYY}-{MM}-{DD}", space: 110 }, { ...axis, label: chart.unit, labelSize: 22, size: 56 }],
    }, data];
  }

  function draw() {
    drawn.splice(0).forEach((plot) => plot.destroy());
    for (const place of places) {
      const chart = charts.find((one) => one.id === place.dataset.chart);
      if (!chart) continue;
      const plot = new uPlot(...options(chart, place.clientWidth), place);
      plot.root.querySelectorAll(".u-legend .edge").forEach((row) => row.remove());
      drawn.push(plot);
    }
  }

  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  let waiting = 0;
  addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(draw, 150); });
})();
