// A mask painted over an image, pixel by pixel: a brush that paints or erases, and a polygon.

const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
const MOST_STROKES = 50;
const COLOUR = [0, 190, 255, 150];

let radius = null; // in pixels of the image; kept from question to question

export function makeMask(frame, { width, height }, page, given) {
  const byId = (id) => document.getElementById(id);
  const size = byId("brush");
  const largest = Math.max(2, Math.round(Math.max(width, height) / 4));
  if (radius === null) radius = Math.max(1, Math.round(Math.max(width, height) / 16));
  size.max = largest;
  size.value = radius;

  const mask = new Uint8Array(width * height);
  let strokes = []; // what the mask was before each stroke
  let stroke = null; // {id, last: [y, x]} while the pointer is down
  let corners = []; // of a polygon that is not closed yet
  let at = [height / 2, width / 2]; // where the brush is, for keys

  if (given && given.mask) unpack(given.mask, mask);

  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  canvas.className = "paint";
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  const ring = document.createElement("div");
  ring.className = "ring";
  ring.hidden = true;
  const lines = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  lines.setAttribute("viewBox", `0 0 ${width} ${height}`);
  lines.setAttribute("preserveAspectRatio", "none");
  lines.classList.add("lines");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  lines.append(line);
  frame.append(canvas, lines, ring);
  frame.classList.add("draw");

  const mode = () => document.querySelector("input[name=mode]:checked").value;
  const choose = (value) => {
    document.querySelector(`input[name=mode][value=${value}]`).checked = true;
    modeChanged();
  };

  function paint() {
    for (let i = 0; i < mask.length; i++) {
      if (mask[i]) pixels.data.set(COLOUR, 4 * i);
      else pixels.data[4 * i + 3] = 0;
    }
    context.putImageData(pixels, 0, 0);
    line.setAttribute("points", corners.map(([y, x]) => `${x},${y}`).join(" "));
    page.changed();
  }

  function point(event) {
    const area = frame.getBoundingClientRect();
    return [((event.clientY - area.top) / area.height) * height, ((event.clientX - area.left) / area.width) * width];
  }

  function showRing() {
    ring.hidden = mode() === "polygon";
    ring.style.top = `${(100 * at[0]) / height}%`;
    ring.style.left = `${(100 * at[1]) / width}%`;
    ring.style.width = `${(200 * radius) / width}%`;
    ring.style.height = `${(200 * radius) / height}%`;
    ring.classList.toggle("erasing", mode() === "erase");
  }

  function remember() {
    strokes.push(mask.slice());
    if (strokes.length > MOST_STROKES) strokes.shift();
  }

  function dab([y, x]) {
    const value = mode() === "erase" ? 0 : 1;
    const reach = Math.max(radius, 0.5);
    for (let row = Math.max(0, Math.floor(y - reach)); row < Math.min(height, y + reach); row++) {
      for (let column = Math.max(0, Math.floor(x - reach)); column < Math.min(width, x + reach); column++) {
        if ((row + 0.5 - y) ** 2 + (column + 0.5 - x) ** 2 <= reach ** 2) mask[row * width + column] = value;
      }
    }
    // The pixel under the point, however small the brush.
    const [row, column] = [Math.floor(y), Math.floor(x)];
    if (row >= 0 && row < height && column >= 0 && column < width) mask[row * width + column] = value;
  }

  function drawTo(here) {
    const [y, x] = stroke.last;
    const steps = Math.max(1, Math.ceil(Math.hypot(here[0] - y, here[1] - x) / Math.max(0.5, radius / 2)));
    for (let i = 1; i <= steps; i++) dab([y + ((here[0] - y) * i) / steps, x + ((here[1] - x) * i) / steps]);
    stroke.last = here;
  }

  function closePolygon() {
    if (corners.length >= 3) {
      remember();
      const area = document.createElement("canvas");
      area.width = width;
      area.height = height;
      const pen = area.getContext("2d");
      pen.beginPath();
      corners.forEach(([y, x], i) => (i ? pen.lineTo(x, y) : pen.moveTo(x, y)));
      pen.closePath();
      for (let i = 0; i < mask.length; i++) {
        if (pen.isPointInPath((i % width) + 0.5, Math.floor(i / width) + 0.5)) mask[i] = 1;
      }
    }
    corners = [];
    paint();
  }

  function addCorner(here) {
    const [first] = corners;
    const near = Math.max(width, height) / 40;
    if (corners.length >= 3 && Math.hypot(here[0] - first[0], here[1] - first[1]) <= near) closePolygon();
    else {
      corners.push(here);
      paint();
    }
  }

  frame.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    at = point(event);
    if (mode() === "polygon") {
      addCorner(at);
      return;
    }
    frame.setPointerCapture(event.pointerId);
    remember();
    stroke = { id: event.pointerId, last: at };
    dab(at);
    showRing();
    paint();
  });
  frame.addEventListener("pointermove", (event) => {
    at = point(event);
    if (stroke && event.pointerId === stroke.id) {
      for (const part of event.getCoalescedEvents ? event.getCoalescedEvents() : []) drawTo(point(part));
      drawTo(at);
      paint();
    }
    showRing();
  });
  for (const end of ["pointerup", "pointercancel"]) {
    frame.addEventListener(end, () => {
      stroke = null;
    });
  }
  frame.addEventListener("pointerleave", () => {
    if (!stroke) ring.hidden = true;
  });

  function modeChanged() {
    if (mode() !== "polygon" && corners.length) closePolygon();
    showRing();
  }
  // The tools outlive this question: what is set here replaces what an earlier one set.
  size.oninput = () => {
    radius = Number(size.value);
    showRing();
  };
  for (const choice of document.querySelectorAll("input[name=mode]")) choice.onchange = modeChanged;
  byId("clear").onclick = () => {
    remember();
    mask.fill(0);
    corners = [];
    paint();
  };
  paint();

  return {
    key(event, name) {
      if (name in STEPS) {
        const [dy, dx] = STEPS[name];
        const [y, x] = [dy * Math.ceil(height / 64), dx * Math.ceil(width / 64)];
        at = [Math.min(height, Math.max(0, at[0] + y)), Math.min(width, Math.max(0, at[1] + x))];
        showRing();
      } else if (name === " ") {
        if (mode() === "polygon") addCorner(at);
        else {
          remember();
          dab(at);
          paint();
        }
      } else if (name === "b") choose("paint");
      else if (name === "e") choose(mode() === "erase" ? "paint" : "erase");
      else if (name === "p") choose("polygon");
      else if (name === "[" || name === "]") {
        radius = Math.min(largest, Math.max(1, radius + (name === "]" ? 1 : -1)));
        size.value = radius;
        showRing();
      } else return false;
      return true;
    },
    ready: () => corners.length >= 3 || mask.includes(1),
    answer() {
      if (corners.length) closePolygon();
      return mask.includes(1) ? { mask: pack(mask) } : null;
    },
    canUndo: () => corners.length > 0 || strokes.length > 0,
    undo() {
      if (corners.length) corners.pop();
      else mask.set(strokes.pop());
      paint();
    },
    enter() {
      if (corners.length < 3) return false;
      closePolygon();
      return true;
    },
  };
}

// A bit a pixel, row after row without gaps, the first in the highest bit; as base64.
function pack(mask) {
  const bytes = new Uint8Array(Math.ceil(mask.length / 8));
  for (let i = 0; i < mask.length; i++) if (mask[i]) bytes[i >> 3] |= 128 >> (i & 7);
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

function unpack(text, mask) {
  const bytes = atob(text);
  for (let i = 0; i < mask.length; i++) mask[i] = (bytes.charCodeAt(i >> 3) >> (7 - (i & 7))) & 1;
}
