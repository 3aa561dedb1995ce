// A click on an example sends its position; its pixels are on the server already.
for (const button of element.querySelectorAll(".fx-example")) {
  button.addEventListener("click", () => trigger("select", { index: Number(button.dataset.index) }));
}
