// What is shown of a question: an image with its overlay, the patches of a neuron, or an image to draw on.

import { makeBox } from "./box.js";
import { makeMask } from "./mask.js";

const OWN = /^([a-z[\]]|Delete|Backspace)$/;
const SMALL = 100; // images of fewer pixels a side are shown in squares, not blurred

export function makeStage(task, page) {
  const place = document.getElementById("stage");
  const idle = { key: () => false, ready: () => false, answer: () => null, canUndo: () => false, undo() {}, enter: () => false };
  let tool = idle;
  let shown = null; // the question that is on display

  const kinds = { maps: mapStage, neurons: neuronStage, boxes: drawStage, masks: drawStage };
  const { show, key } = kinds[task](page);

  return {
    async load(question) {
      const names = Object.keys(question.pictures);
      const images = await Promise.all(names.map((name) => picture(question.pictures[name])));
      return Object.fromEntries(names.map((name, i) => [name, images[i]]));
    },
    show(question, assets, answer) {
      place.dataset.state = "question";
      const made = show(question, assets, answer);
      tool = made.tool || idle;
      place.replaceChildren(made.element);
      shown = question;
    },
    wait(text) {
      tool = idle;
      shown = null;
      place.dataset.state = "waiting";
      const words = document.createElement("p");
      words.textContent = text;
      place.replaceChildren(words);
      facts({ true: "–", predicted: "–" });
    },
    // Arrows, Space and Enter on a slider or a button are its own.
    key: (event, name, onControl) => (key && key(name)) || ((!onControl || OWN.test(name)) && tool.key(event, name)),
    shows: (question) => question === shown,
    ready: () => tool.ready(),
    answer: () => tool.answer(),
    canUndo: () => tool.canUndo(),
    undo: () => tool.undo(),
    enter: () => tool.enter(),
  };
}

async function picture(url) {
  const image = new Image();
  image.decoding = "async";
  image.src = url;
  await image.decode();
  return image;
}

function frameOf(question, image, label) {
  const frame = document.createElement("div");
  frame.className = "frame";
  frame.style.setProperty("--ratio", question.width / question.height);
  frame.classList.toggle("small", Math.max(question.width, question.height) < SMALL);
  image.className = "base";
  image.alt = label;
  image.draggable = false;
  frame.append(image);
  return frame;
}

function facts(question) {
  const truth = document.getElementById("true");
  if (!truth) return;
  truth.textContent = question.true;
  const predicted = document.getElementById("predicted");
  if (!predicted) return;
  predicted.textContent = question.predicted;
  predicted.dataset.right = question.right === undefined ? "" : question.right ? "yes" : "no";
  document.getElementById("map-of").textContent = question.true;
}

// ---------------------------------------------------------------------------------------------------------------------

function mapStage() {
  const shown = document.getElementById("overlay");
  const opacity = document.getElementById("opacity");
  let over = null;

  function apply() {
    if (over) over.style.opacity = shown.checked ? Number(opacity.value) / 100 : 0;
    opacity.disabled = !shown.checked;
  }
  shown.addEventListener("change", apply);
  opacity.addEventListener("input", apply);

  return {
    show(question, assets) {
      const label = `The image, of the class ${question.true}; the model says ${question.predicted}`;
      const frame = frameOf(question, assets.image, label);
      over = assets.overlay;
      over.className = question.coarse ? "over" : "over exact";
      over.alt = "The saliency map: bright where the model looks";
      over.draggable = false;
      frame.append(over);
      if (question.dead) {
        const note = document.createElement("p");
        note.className = "note";
        note.textContent = "This map is zero everywhere.";
        frame.append(note);
      }
      facts(question);
      apply();
      return { element: frame };
    },
    key(name) {
      if (name === "o") {
        shown.checked = !shown.checked;
        apply();
        return true;
      }
      return false;
    },
  };
}

function neuronStage() {
  return {
    show(question, assets) {
      const grid = document.createElement("ol");
      grid.className = "patches";
      const small = Math.max(question.width, question.height) < SMALL;
      for (let i = 0; i < question.slots; i++) {
        const tile = document.createElement("li");
        if (i < question.patches.length) {
          const [top, left, bottom, right] = question.patches[i];
          tile.append(
            crop(assets.strip, i * question.width + left, top, right - left, bottom - top, small, `Patch ${i + 1}`),
            whole(assets.strip, i, question, question.patches[i], small),
          );
        } else {
          tile.className = "empty";
          tile.setAttribute("aria-label", "no patch: the neuron is active on fewer images");
        }
        grid.append(tile);
      }
      return { element: grid };
    },
  };
}

function crop(strip, x, y, width, height, small, label) {
  const holder = document.createElement("div");
  holder.className = "crop";
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  canvas.className = small ? "small" : "";
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", label);
  canvas.getContext("2d").drawImage(strip, x, y, width, height, 0, 0, width, height);
  holder.append(canvas);
  return holder;
}

function whole(strip, i, question, [top, left, bottom, right], small) {
  const holder = document.createElement("div");
  holder.className = "whole";
  holder.style.setProperty("--ratio", question.width / question.height);
  const canvas = document.createElement("canvas");
  canvas.width = question.width;
  canvas.height = question.height;
  canvas.className = small ? "small" : "";
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `The whole image of patch ${i + 1}`);
  const { width, height } = question;
  canvas.getContext("2d").drawImage(strip, i * width, 0, width, height, 0, 0, width, height);
  const mark = document.createElement("div");
  mark.className = "mark";
  mark.style.top = `${(100 * top) / height}%`;
  mark.style.left = `${(100 * left) / width}%`;
  mark.style.height = `${(100 * (bottom - top)) / height}%`;
  mark.style.width = `${(100 * (right - left)) / width}%`;
  holder.append(canvas, mark);
  return holder;
}

function drawStage(page) {
  const make = document.getElementById("work").dataset.task === "boxes" ? makeBox : makeMask;
  return {
    show(question, assets, answer) {
      const frame = frameOf(question, assets.image, `An image of the class ${question.true}`);
      const tool = make(frame, question, page, answer);
      facts(question);
      return { element: frame, tool };
    },
  };
}
