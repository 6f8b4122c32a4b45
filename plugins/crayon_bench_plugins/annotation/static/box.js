// A rectangle that is dragged over an image, moved and resized by its handles or by the arrow keys.

const HANDLES = ["nw", "n", "ne", "e", "se", "s", "sw", "w"];
const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

export function makeBox(frame, { width, height }, page, given) {
  let box = Array.isArray(given) ? given.slice() : null; // top, left, bottom, right in pixels of the image
  let drag = null;

  const view = document.createElement("div");
  view.className = "box";
  view.hidden = true;
  for (const side of HANDLES) {
    const handle = document.createElement("span");
    handle.className = `handle ${side}`;
    handle.dataset.side = side;
    view.append(handle);
  }
  frame.append(view);
  frame.classList.add("draw");

  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

  function point(event) {
    const area = frame.getBoundingClientRect();
    return [
      clamp(((event.clientY - area.top) / area.height) * height, 0, height),
      clamp(((event.clientX - area.left) / area.width) * width, 0, width),
    ];
  }

  function paint() {
    view.hidden = box === null;
    if (box) {
      const [top, left, bottom, right] = box;
      view.style.top = `${(100 * top) / height}%`;
      view.style.left = `${(100 * left) / width}%`;
      view.style.height = `${(100 * (bottom - top)) / height}%`;
      view.style.width = `${(100 * (right - left)) / width}%`;
    }
    page.changed();
  }

  function between([y0, x0], [y1, x1]) {
    // Every pixel that the drag touched.
    const top = clamp(Math.floor(Math.min(y0, y1)), 0, height - 1);
    const left = clamp(Math.floor(Math.min(x0, x1)), 0, width - 1);
    return [top, left, clamp(Math.ceil(Math.max(y0, y1)), top + 1, height), clamp(Math.ceil(Math.max(x0, x1)), left + 1, width)];
  }

  function move(dy, dx, from) {
    const [top, left, bottom, right] = from;
    const y = clamp(Math.round(dy), -top, height - bottom);
    const x = clamp(Math.round(dx), -left, width - right);
    box = [top + y, left + x, bottom + y, right + x];
  }

  function resize(side, [y, x], from) {
    let [top, left, bottom, right] = from;
    if (side.includes("n")) top = clamp(Math.round(y), 0, bottom - 1);
    if (side.includes("s")) bottom = clamp(Math.round(y), top + 1, height);
    if (side.includes("w")) left = clamp(Math.round(x), 0, right - 1);
    if (side.includes("e")) right = clamp(Math.round(x), left + 1, width);
    box = [top, left, bottom, right];
  }

  frame.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    frame.setPointerCapture(event.pointerId);
    const start = point(event);
    const side = event.target.dataset.side;
    drag = { id: event.pointerId, start, side, from: box, inside: !side && event.target === view };
  });
  frame.addEventListener("pointermove", (event) => {
    if (!drag || event.pointerId !== drag.id) return;
    const here = point(event);
    if (drag.side) resize(drag.side, here, drag.from);
    else if (drag.inside) move(here[0] - drag.start[0], here[1] - drag.start[1], drag.from);
    else box = between(drag.start, here);
    paint();
  });
  for (const end of ["pointerup", "pointercancel"]) {
    frame.addEventListener(end, () => {
      drag = null;
    });
  }
  paint();

  return {
    key(event, name) {
      if (name === "Backspace" || name === "Delete") {
        box = null;
      } else if (name in STEPS) {
        const [dy, dx] = STEPS[name];
        const [y, x] = [dy * Math.ceil(height / 64), dx * Math.ceil(width / 64)];
        if (!box) box = [Math.floor(height / 4), Math.floor(width / 4), Math.ceil((3 * height) / 4), Math.ceil((3 * width) / 4)];
        else if (event.shiftKey) resize("se", [box[2] + y, box[3] + x], box);
        else move(y, x, box);
      } else {
        return false;
      }
      paint();
      return true;
    },
    ready: () => box !== null,
    answer: () => box,
    canUndo: () => false,
    undo() {},
    enter: () => false,
  };
}
