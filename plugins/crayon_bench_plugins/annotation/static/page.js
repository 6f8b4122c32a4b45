// One question at a time: keys and buttons, saving, undo, and loading ahead. What is shown is the stage's matter.

import { makeStage } from "./stage.js";

const AHEAD = 4; // the question shown, and those that are loaded already
const MOST_UNSAVED = 3; // further answers wait until these are on the server's disk

const work = document.getElementById("work");
const task = work.dataset.task;
const drawn = task === "boxes" || task === "masks";
const byId = (id) => document.getElementById(id);
const help = byId("help");
const stage = makeStage(task, { hint: say, changed: refreshButtons });

let current = null; // {question, assets}
let queue = []; // [{question, assets: Promise}]
let unsaved = []; // answers that the server has not acknowledged yet, in the order in which they were given
let done = new Set(); // places that were answered here, whatever the server's last word was
let shownAt = null; // null while the question, or its pictures, cannot be seen
let busy = false; // an undo, or the first load, is under way
let sending = false;
let savedOnce = false;
let failures = 0; // how often answers came back unsaved
let lastPointer = "mouse";
let pressed = null; // the button that gave the last answer by key: it keeps the focus from question to question

const NEXT = "You can close this page. Whoever started the server ends it with Ctrl-C; it then says which command uses the answers.";
const OVERLAP = "A server that is started with -\u2060-\u2060overlap asks everyone the same share of the questions.";
const number = new Intl.NumberFormat("en");

// ---------------------------------------------------------------------------------------------------------------------
// the server

async function ask(path, body) {
  let response;
  try {
    response = await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ ...body, set: work.dataset.set }),
      credentials: "same-origin",
    });
  } catch {
    throw new Error("the server cannot be reached; is it still running?");
  }
  let reply;
  try {
    reply = await response.json();
  } catch {
    throw new Error(`the server answered ${response.status}`);
  }
  if (!response.ok) throw new Error(reply.error || `the server answered ${response.status}`);
  return reply;
}

function takeIn(reply) {
  // What the same annotator has answered in another tab is not asked here again.
  const inHand = new Set(reply.questions.map((question) => question.place));
  queue = queue.filter((item) => inHand.has(item.question.place));
  const known = new Set([...done, ...queue.map((item) => item.question.place)]);
  if (current) known.add(current.question.place);
  for (const question of reply.questions) {
    if (!known.has(question.place)) queue.push(load(question));
  }
  tellProgress(reply);
}

function load(question) {
  const item = { question, assets: stage.load(question) };
  item.assets.catch(() => {}); // told when it is its turn
  return item;
}

// ---------------------------------------------------------------------------------------------------------------------
// showing

async function showNext() {
  shownAt = null;
  current = queue.shift() || null;
  refreshButtons();
  if (!current) {
    if (!unsaved.length && !busy) await lookAgain();
    else if (unsaved.length) stage.wait("Saving…");
    return;
  }
  await show(current);
}

async function show(item, answer) {
  delete work.dataset.finished;
  let assets;
  let slow = setTimeout(() => item === current && stage.wait("Loading…"), 150);
  try {
    assets = await item.assets;
  } catch {
    if (item !== current) return;
    stage.wait("The picture could not be loaded.");
    problem("The picture could not be loaded.", "Try again", () => {
      item.assets = stage.load(item.question);
      show(item, answer);
    });
    return;
  } finally {
    clearTimeout(slow);
  }
  if (item !== current) return;
  stage.show(item.question, assets, answer);
  work.dataset.place = item.question.place;
  work.dataset.example = item.question.id;
  // Seen once it is painted, and nothing lies over it.
  requestAnimationFrame(() => {
    if (item === current && !help.open) shownAt = performance.now();
    refreshButtons();
  });
}

async function lookAgain() {
  busy = true;
  refreshButtons();
  try {
    const reply = await ask("/api/next", { want: AHEAD });
    takeIn(reply);
    busy = false;
    if (queue.length) await showNext();
    else finish(reply);
  } catch (error) {
    busy = false;
    stage.wait("Nothing to show.");
    problem(`The next question did not come: ${error.message}`, "Try again", lookAgain);
  }
  refreshButtons();
}

function finish(reply) {
  delete work.dataset.place;
  if (reply.elsewhere) {
    stage.wait(`Nothing left for you at the moment: other annotators have ${number.format(reply.elsewhere)} in hand.`);
    problem("", "Look again", lookAgain);
  } else {
    stage.wait(reply.given ? `All done. Thank you! ${NEXT}` : `Nothing is left for you: all ${number.format(reply.asked)} questions are answered, by others. ${OVERLAP}`);
    work.dataset.finished = reply.given ? "yes" : "by others";
  }
}

function tellProgress(reply) {
  const left = reply.total - reply.given;
  byId("bar").max = Math.max(1, reply.total);
  byId("bar").value = reply.given;
  const here = left ? `${number.format(reply.given + 1)} of ${number.format(reply.total)}` : number.format(reply.total);
  byId("count").textContent = left ? `Question ${here}` : reply.total ? `${here} of ${here} done` : "";
  const parts = [];
  if (reply.pace !== null) parts.push(`${reply.pace.toFixed(0)} a minute`);
  if (reply.minutes !== null && left) parts.push(`≈ ${duration(reply.minutes)} left`);
  byId("pace").textContent = parts.join(" · ");
  tellSigns(reply.signs);
}

function tellSigns(signs) {
  const place = byId("signs");
  place.hidden = !signs.length;
  if (signs.length) place.textContent = `Of your last answers: ${signs.join("; ")}. Are you looking? Undo (Z) takes them back.`;
}

function duration(minutes) {
  if (minutes < 1) return "1 min";
  if (minutes < 90) return `${Math.round(minutes)} min`;
  return `${(minutes / 60).toFixed(1)} h`;
}

function say(text) {
  byId("status").textContent = text;
}

function tellSaving() {
  work.dataset.unsaved = unsaved.length;
  if (unsaved.length) say(unsaved.length > 1 ? `Saving ${unsaved.length} answers…` : "Saving…");
  else if (savedOnce) say("Saved ✓");
}

function problem(text, action, step) {
  const place = byId("problem");
  place.replaceChildren();
  place.hidden = !text && !action;
  if (text) place.append(text, " ");
  if (action) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = action;
    button.addEventListener("click", () => {
      problem("");
      step();
    });
    place.append(button);
  }
}

function refreshButtons() {
  const open = canAnswer();
  for (const button of document.querySelectorAll("[data-answer]")) {
    const needsDrawing = button.dataset.answer === "draw";
    button.disabled = !open || (needsDrawing && !stage.ready());
  }
  if (open && pressed && document.activeElement === document.body) pressed.focus({ preventScroll: true });
  byId("undo").disabled = busy;
  byId("undo-what").textContent = stage.canUndo() ? "Undo stroke" : "Undo";
}

// ---------------------------------------------------------------------------------------------------------------------
// answering

function canAnswer() {
  return current !== null && shownAt !== null && !busy && unsaved.length < MOST_UNSAVED;
}

function give(answer, via) {
  if (!canAnswer()) return;
  if (answer === "draw") {
    answer = stage.answer();
    if (answer === null) {
      say(task === "boxes" ? "Draw a box first." : "Paint something first.");
      return;
    }
  }
  problem("");
  const seconds = (performance.now() - shownAt) / 1000;
  unsaved.push({ item: current, answer, via, seconds });
  done.add(current.question.place);
  flash(typeof answer === "string" ? answer : "draw");
  current = null;
  tellSaving();
  showNext();
  send();
}

async function send() {
  if (sending) return;
  sending = true;
  while (unsaved.length) {
    const { item, answer, via, seconds } = unsaved[0];
    try {
      const reply = await ask("/api/answer", { place: item.question.place, answer, via, seconds });
      unsaved.shift();
      savedOnce = true;
      work.dataset.saved = Number(work.dataset.saved || 0) + 1;
      takeIn(reply);
      tellSaving();
    } catch (error) {
      bringBack(error);
    }
  }
  sending = false;
  if (!current && !busy) showNext();
  refreshButtons();
}

function bringBack(error) {
  // Whatever was not saved is asked again, in the order in which it was asked before.
  failures += 1;
  const back = unsaved.map(({ item, answer }) => ({ ...item, answer }));
  unsaved = [];
  for (const item of back) done.delete(item.question.place);
  queue = [...back.slice(1), ...(current ? [current] : []), ...queue];
  current = back[0];
  say("Not saved.");
  problem(`Not saved: ${error.message}. The question is back; please answer it again.`);
  shownAt = null;
  work.dataset.unsaved = 0;
  show(current, typeof back[0].answer === "string" ? undefined : back[0].answer);
}

async function undo(via) {
  if (busy) return;
  if (stage.canUndo() && current) {
    stage.undo();
    refreshButtons();
    return;
  }
  busy = true;
  refreshButtons();
  const before = failures;
  while (sending) await new Promise((wake) => setTimeout(wake, 20));
  if (failures > before) { // the answer that was to be taken back was not saved, and its question is back already
    busy = false;
    refreshButtons();
    return;
  }
  try {
    const reply = await ask("/api/undo", { via });
    busy = false;
    if (reply.undone === null) {
      say("There is nothing to undo.");
    } else {
      const { question, answer, id } = reply.undone;
      delete work.dataset.finished;
      if (question) {
        done.delete(question.place);
        queue = queue.filter((item) => item.question.place !== question.place);
        // After a lost acknowledgement the question that is shown may be the very one that was answered.
        if (current && current.question.place !== question.place) queue.unshift(current);
        current = load(question);
        shownAt = null;
        await show(current, answer);
      }
      const was = typeof answer === "string" ? `: it was “${answer}”` : "";
      say(question ? `Undone${was}` : `Undone: the answer about ${id}`);
      takeIn(reply);
    }
  } catch (error) {
    busy = false;
    problem(`Not undone: ${error.message}`);
  }
  refreshButtons();
}

function flash(answer) {
  const button = document.querySelector(`[data-answer="${answer}"]`);
  if (!button) return;
  button.classList.remove("given");
  void button.offsetWidth; // begins the animation anew
  button.classList.add("given");
}

// ---------------------------------------------------------------------------------------------------------------------
// keys and buttons

const WORDS = { y: drawn ? "draw" : "yes", n: drawn ? null : "no", m: "maybe", s: "skip" };

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (help.open) {
    if (key === "?" || (key === "Enter" && event.target.tagName !== "BUTTON")) {
      event.preventDefault();
      help.close();
    }
    return;
  }
  const onControl = event.target.closest("button, a, input, select");
  if (key === "Enter" && drawn && !onControl) {
    event.preventDefault();
    if (!event.repeat) stage.enter() || give("draw", "key");
  } else if (WORDS[key]) {
    event.preventDefault();
    if (!event.repeat) give(WORDS[key], "key"); // one press, one answer
  } else if (key === "z") {
    event.preventDefault();
    if (!event.repeat) undo("key");
  } else if (key === "?") {
    event.preventDefault();
    openHelp();
  } else if (stage.key(event, key, onControl)) {
    event.preventDefault();
    refreshButtons();
  }
});

document.addEventListener("pointerdown", (event) => {
  lastPointer = event.pointerType;
}, true);

function viaOf(event) {
  if (event.detail === 0) return "key"; // a button that was pressed by Enter or Space
  return (event.pointerType || lastPointer) === "touch" ? "touch" : "pointer";
}

for (const button of document.querySelectorAll("[data-answer]")) {
  button.addEventListener("click", (event) => {
    pressed = viaOf(event) === "key" ? button : null;
    give(button.dataset.answer, viaOf(event));
  });
}
byId("undo").addEventListener("click", (event) => undo(viaOf(event)));
byId("help-open").addEventListener("click", openHelp);
byId("help-close").addEventListener("click", () => help.close());

function openHelp() {
  shownAt = null; // who reads does not look at the question
  help.showModal();
  byId("help-close").focus({ preventScroll: true });
  help.scrollTop = 0;
}

help.addEventListener("close", () => {
  const item = current;
  requestAnimationFrame(() => {
    if (item && item === current && stage.shows(item.question)) shownAt = performance.now();
    refreshButtons();
  });
  byId("stage").focus({ preventScroll: true });
});

window.addEventListener("beforeunload", (event) => {
  if (unsaved.length) event.preventDefault();
});

if (work.dataset.guide === "yes") openHelp();
lookAgain();
