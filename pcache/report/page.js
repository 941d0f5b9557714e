// Draws the charts: unpacks the library, gives the figures the colours of the page, and again when those change.
"use strict";

(async () => {
  const PAPER = 660; // pixels that a page of paper is wide
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const print = matchMedia("print");
  const places = [...document.querySelectorAll("[data-figure]")];

  // The same figure with the values of the page's variables in the place of their names.
  function colored(part, style) {
    if (typeof part === "string" && part.startsWith("var(")) {
      return style.getPropertyValue(part.slice(4, -1)).trim();
    }
    if (Array.isArray(part)) {
      return part.map((item) => colored(item, style));
    }
    if (part && typeof part === "object") {
      return Object.fromEntries(Object.entries(part).map(([name, item]) => [name, colored(item, style)]));
    }
    return part;
  }

  function draw() {
    const style = getComputedStyle(document.documentElement);
    for (const place of places) {
      const { data, layout } = colored(figures[place.dataset.figure], style);
      if (print.matches) {
        layout.width = Math.min(PAPER, place.clientWidth || PAPER);
      } else {
        layout.autosize = true;
      }
      Plotly.react(place, data, layout, { responsive: true, displayModeBar: false, displaylogo: false });
      if (!place.dataset.drawn) {
        place.dataset.drawn = "yes";
        place.on("plotly_treemapclick", () => false); // a tile holds no others: nothing to walk into
      }
    }
  }

  async function load() {
    const text = atob(document.getElementById("library").textContent);
    const packed = new Uint8Array(text.length);
    for (let place = 0; place < text.length; place++) {
      packed[place] = text.charCodeAt(place); // Uint8Array.from takes eight times as long
    }
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  }

  try {
    await load();
    draw();
    dark.addEventListener("change", draw);
    print.addEventListener("change", draw);
    document.documentElement.dataset.charts = "drawn";
  } catch (error) {
    for (const place of places) {
      place.style.minHeight = "0";
      place.textContent = "This browser cannot draw the chart; its numbers are in the table below.";
    }
    document.documentElement.dataset.charts = "none";
    console.error(error);
  }
})();
