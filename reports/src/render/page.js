"use strict";
(() => {
  const search = document.getElementById("search");
  const chips = [...document.querySelectorAll(".bar input[type=checkbox]")];
  const checks = [...document.querySelectorAll("details.check")];
  const shown = document.getElementById("shown");
  const none = document.getElementById("none");
  function filter() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const kinds = new Set(chips.filter((chip) => chip.checked).map((chip) => chip.value));
    let count = 0;
    for (const check of checks) {
      const text = check.dataset.text;
      const show = (kinds.size === 0 || kinds.has(check.dataset.kind)) && words.every((word) => text.includes(word));
      check.hidden = !show;
      if (show) count += 1;
    }
    for (const group of document.querySelectorAll("section.group, details.cause")) {
      group.hidden = !group.querySelector("details.check:not([hidden])");
    }
    shown.textContent = `${count} of ${checks.length} shown`;
    none.hidden = count > 0;
    const url = new URL(location.href);
    if (search.value) url.searchParams.set("q", search.value); else url.searchParams.delete("q");
    if (kinds.size) url.searchParams.set("show", [...kinds].join(",")); else url.searchParams.delete("show");
    try { history.replaceState(null, "", url); } catch { /* some browsers refuse this on file: pages */ }
  }
  function open() {
    const check = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (check && check.matches("details.check")) { const cause = check.closest("details.cause"); if (cause) { cause.hidden = false; cause.open = true; } check.hidden = false; check.open = true; check.scrollIntoView(); }
  }
  const asked = new URLSearchParams(location.search);
  search.value = asked.get("q") || "";
  const kinds = (asked.get("show") || "").split(",");
  for (const chip of chips) { chip.checked = kinds.includes(chip.value); chip.addEventListener("change", filter); }
  search.addEventListener("input", filter);
  addEventListener("hashchange", open);
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== search) { event.preventDefault(); search.focus(); }
  });
  async function copy(text) {
    try { await navigator.clipboard.writeText(text); return true; } catch { /* not there, or refused, on some file: pages */ }
    const area = document.createElement("textarea");
    const focused = document.activeElement;
    area.value = text; area.className = "offscreen"; area.readOnly = true;
    document.body.append(area); area.select();
    let copied = false;
    try { copied = document.execCommand("copy"); } catch { /* no other way is left */ }
    area.remove(); focused?.focus();
    return copied;
  }
  for (const pre of document.querySelectorAll("pre.commands")) {
    const button = document.createElement("button");
    button.className = "copy"; button.type = "button"; button.textContent = "Copy";
    button.setAttribute("aria-label", `Copy: ${pre.textContent.split("\n", 1)[0]}`);
    button.addEventListener("click", async () => {
      const copied = await copy(pre.textContent);
      button.textContent = copied ? "Copied" : "Press Ctrl+C";
      if (!copied) getSelection().selectAllChildren(pre);
      document.getElementById("said").textContent = copied ? "Copied" : "The commands are selected: press Ctrl+C";
    });
    const block = document.createElement("div");
    block.className = "block"; pre.replaceWith(block); block.append(button, pre);
  }
  document.querySelector(".bar").hidden = false;
  filter();
  open();
})();
