// Two comforts on pages that are whole without them: `/` goes to the search box, a click copies a hash or a command.
"use strict";

(() => {
  const search = document.getElementById("q");
  const said = document.getElementById("said");

  document.addEventListener("keydown", (event) => {
    const writing = event.target.closest("input, textarea, select, [contenteditable]");
    if (event.key !== "/" || writing || event.ctrlKey || event.metaKey || event.altKey || !search) return;
    event.preventDefault();
    search.focus();
    search.select();
  });

  const select = (element) => {
    const range = document.createRange();
    range.selectNodeContents(element);
    const selection = window.getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
  };

  const copy = async (text, element, button) => {
    try {
      await navigator.clipboard.writeText(text);
      said.textContent = "Copied.";
      if (button) button.textContent = "Copied";
      else element.classList.add("copied");
    } catch {
      // Browsers give no clipboard to pages without TLS: then the whole text is selected, ready for the user's own copy.
      select(element);
      said.textContent = "Selected.";
      if (button) button.textContent = "Selected";
    }
    setTimeout(() => {
      said.textContent = "";
      element.classList.remove("copied");
      if (button) button.textContent = "Copy";
    }, 1500);
  };

  for (const hash of document.querySelectorAll(".hash")) {
    hash.setAttribute("role", "button");
    hash.tabIndex = 0;
    const whole = hash.textContent;
    hash.addEventListener("click", () => {
      if (window.getSelection().isCollapsed) copy(whole, hash);
    });
    hash.addEventListener("keydown", (event) => {
      if (event.key === "Enter") copy(whole, hash);
    });
  }

  for (const button of document.querySelectorAll("button.copy")) {
    const text = button.parentElement.querySelector("code");
    button.hidden = false;
    button.addEventListener("click", () => copy(text.textContent, text, button));
  }
})();
