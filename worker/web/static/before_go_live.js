// A slider beside each number: they follow each other. What they say is asked for by the form itself.
for (const range of document.querySelectorAll("input[type=range][data-for]")) {
  const number = document.getElementById(range.dataset.for);
  range.hidden = false;
  range.addEventListener("input", () => { number.value = range.value; });
  number.addEventListener("input", () => { range.value = number.value; });
}
