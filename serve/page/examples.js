// A click on an example sends its position; its pixels are on the server already.
for (const button of element.querySelectorAll(".fx-example")) {
  button.addEventListener("click", () => {
    trigger("select", { index: Number(button.dataset.index) });
    // on a phone the answer is far above; where it is in view already, nothing moves
    document.querySelector(".fx-answer")?.scrollIntoView({ behavior: "smooth", block: "nearest" });
  });
}
