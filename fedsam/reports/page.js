"use strict";
// Draws every figure from the JSON beside it, in the colours of a light or a dark page, and anew when that changes.
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 600px)");
  const touch = matchMedia("(pointer: coarse)");
  const SHEET = { width: 680, height: 310 }; // of A4 or letter, two figures to a page
  const DARK = {
    "#1f2328": "#e6e9ed", "#e4e7eb": "#2b3139", "#9aa1ab": "#6b7480",
    "#0072B2": "#4a9fe0", "#D55E00": "#f0803c", "#009E73": "#25c295", "#CC79A7": "#e39dc6", "#E69F00": "#f2b632",
    "#56B4E9": "#a5dcff", "#000000": "#dfe3e8",
    "#332288": "#7f6fe0", "#117733": "#3fae62", "#882255": "#c4528c", "#AA4499": "#cf6cc0",
  };
  const COLOUR = /^#[0-9a-f]{6}([0-9a-f]{2})?$/i;
  let printing = false;

  const shade = (key, value) =>
    typeof value === "string" && COLOUR.test(value) ? (DARK[value.slice(0, 7)] || value.slice(0, 7)) + value.slice(7) : value;

  function described(div) {
    const text = document.getElementById(div.dataset.source).textContent;
    const { data, layout } = JSON.parse(text, dark.matches && !printing ? shade : undefined);
    const small = narrow.matches && !printing;
    const background = dark.matches && !printing ? "#1c2026" : "#ffffff";
    layout.hoverlabel = { ...layout.hoverlabel, bgcolor: background, font: { color: layout.font.color } };
    layout.modebar = { bgcolor: "rgba(0,0,0,0)", color: "#8b949e", activecolor: layout.font.color };
    layout.uirevision = "kept";
    if (printing) Object.assign(layout, { width: SHEET.width, height: Math.min(layout.height, SHEET.height) });
    const width = printing ? SHEET.width : div.clientWidth;
    const letter = small ? 5.6 : 6.7;
    const names = layout.showlegend ? data.filter((each) => each.showlegend !== false).map((each) => each.name) : [];
    const longest = Math.max(1, ...names.flatMap((name) => name.split("<br>")).map((name) => name.length));
    const rows = Math.ceil(names.length / Math.max(1, Math.floor((width - 70) / (longest * letter + 45))));
    const room = Math.max(0, rows - 2) * 19; // a long legend does not take the room of the figure
    if (small) {
      layout.height = Math.min(layout.height, 380);
      layout.font.size = 11;
      for (const axis of [layout.xaxis, layout.yaxis]) if (axis) axis.title.font.size = 11.5;
      for (const trace of data.filter((each) => each.colorbar)) {
        trace.colorbar = {
          ...trace.colorbar, orientation: "h", x: 0.5, y: 1, yanchor: "bottom", thickness: 8,
          title: { ...trace.colorbar.title, side: "top" },
        };
      }
      if (layout.scene) layout.margin.t = 60;
    }
    layout.height += room;
    if (touch.matches && !layout.scene) {
      layout.dragmode = false; // a finger scrolls the page
      layout.xaxis.fixedrange = layout.yaxis.fixedrange = true;
    }
    return { data, layout };
  }

  async function draw(div) {
    try {
      const { data, layout } = described(div);
      await Plotly.react(div, data, layout, {
        responsive: !printing,
        displaylogo: false,
        showSendToCloud: false, // plotly's own button would send the figure away
        plotlyServerURL: "",
        displayModeBar: touch.matches ? false : "hover",
        modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"],
        toImageButtonOptions: { format: "svg", filename: div.id },
      });
    } catch (error) {
      div.classList.add("failed");
      div.textContent = `This figure cannot be drawn here (${error.message}); its numbers are in the page.`;
    }
  }

  const drawAll = () => Promise.all([...document.querySelectorAll(".figure")].map(draw));

  let opened = [];
  addEventListener("beforeprint", () => {
    printing = true;
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const each of opened) each.open = true;
    drawAll();
  });
  addEventListener("afterprint", () => {
    printing = false;
    for (const each of opened) each.open = false;
    drawAll();
  });
  dark.addEventListener("change", drawAll);
  narrow.addEventListener("change", drawAll);
  drawAll().then(() => document.body.setAttribute("data-drawn", "yes"));
})();
