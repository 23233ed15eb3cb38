// Two keys label a film: the number of a finding, then Enter. Enter again goes to the next film.
"use strict";
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const choice = document.querySelector(`#reading [data-key="${CSS.escape(event.key)}"]`);
  if (choice) {
    choice.checked = true;
    choice.focus();
    event.preventDefault();
  } else if (event.key === "Enter" && document.activeElement === document.body) {
    document.getElementById("next")?.click();
  }
});
