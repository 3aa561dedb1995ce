// A black canvas with a white brush; each finished stroke is sent as a PNG.
const canvas = element.querySelector("canvas");
const context = canvas.getContext("2d");
let last = null;
let drawn = false;
let waiting = null;

function wipe() {
  context.fillStyle = "black";
  context.fillRect(0, 0, canvas.width, canvas.height);
  drawn = false;
}

function position(event) {
  const box = canvas.getBoundingClientRect();
  return [
    ((event.clientX - box.left) * canvas.width) / box.width,
    ((event.clientY - box.top) * canvas.height) / box.height,
  ];
}

function stroke(from, to) {
  context.strokeStyle = "white";
  context.lineWidth = 28;
  context.lineCap = "round";
  context.lineJoin = "round";
  context.beginPath();
  context.moveTo(...from);
  context.lineTo(...to);
  context.stroke();
}

function send() {
  waiting = null;
  trigger("submit", { image: drawn ? canvas.toDataURL("image/png") : null });
}

canvas.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  event.preventDefault();
  canvas.setPointerCapture(event.pointerId);
  clearTimeout(waiting);
  last = position(event);
  drawn = true;
  stroke(last, last);
});
canvas.addEventListener("pointermove", (event) => {
  if (last === null) return;
  for (const part of event.getCoalescedEvents?.() ?? [event]) {
    const next = position(part);
    stroke(last, next);
    last = next;
  }
});
for (const end of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(end, () => {
    if (last === null) return;
    last = null;
    waiting = setTimeout(send, 150); // a 4 has two strokes: the second starts before the first is sent
  });
}
element.querySelector(".fx-predict").addEventListener("click", send);
element.querySelector(".fx-clear").addEventListener("click", () => {
  clearTimeout(waiting);
  wipe();
  trigger("clear");
});
wipe();
