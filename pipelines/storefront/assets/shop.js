// Draws what the server answers. Text from data becomes text nodes alone.
const at = (id) => document.getElementById(id);
const chosen = new Set();
let turn = 0;
let search = 0;

async function call(path, body) {
  const answer = await fetch(path, body === undefined ? {} : {
    method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body),
  });
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.detail ?? answer.statusText);
  return told;
}

function make(tag, text, more = {}) {
  const node = Object.assign(document.createElement(tag), more);
  if (text) node.textContent = text;
  return node;
}

function draw(items) {
  at("list").replaceChildren(...items.map((item, place) => {
    const line = make("li");
    const why = make("p", item.why, {className: "why", hidden: true, id: `why-${place}`});
    const button = make("button", "why this?", {type: "button", className: "plain"});
    button.setAttribute("aria-expanded", "false");
    button.setAttribute("aria-controls", why.id);
    button.setAttribute("aria-label", `why this? ${item.title}`);
    button.addEventListener("click", () => {
      why.hidden = !why.hidden;
      button.setAttribute("aria-expanded", String(!why.hidden));
    });
    line.append(make("span", item.title, {className: "title"}), make("span", item.category, {className: "quiet"}), button, why);
    return line;
  }));
}

async function show(said, ask) {
  const mine = ++turn;
  at("said").textContent = "…";
  try {
    const found = await ask();
    if (mine !== turn) return; // a later click was answered before
    draw(found.items);
    at("said").textContent = said;
  } catch (error) {
    if (mine === turn) at("said").textContent = error.message;
  }
}

async function offer(words) {
  const mine = ++search;
  const found = await call(`/api/products?q=${encodeURIComponent(words)}`);
  if (mine !== search) return; // more was typed meanwhile
  at("products").replaceChildren(...found.map((item) => {
    const button = make("button", "", {type: "button", className: "card"});
    button.append(make("span", item.title), make("span", item.category, {className: "quiet"}));
    button.setAttribute("aria-pressed", String(chosen.has(item.id)));
    button.addEventListener("click", () => {
      chosen.has(item.id) ? chosen.delete(item.id) : chosen.add(item.id);
      button.setAttribute("aria-pressed", String(chosen.has(item.id)));
      fold();
    });
    return button;
  }));
}

function fold() {
  const missing = 3 - chosen.size;
  at("hint").textContent = missing > 0 ? `Click ${missing} more.` : `The list follows your ${chosen.size} clicks.`;
  if (missing <= 0) show(`For somebody new with ${chosen.size} clicks.`, () => call("/api/fold-in", {items: [...chosen]}));
}

at("user").addEventListener("change", (event) => {
  const user = event.target.value;
  if (!user) return;
  at("new").setAttribute("aria-pressed", "false");
  at("pick").hidden = true;
  show(`The list of ${user}.`, () => call(`/api/lists/${encodeURIComponent(user)}`));
});

at("new").addEventListener("click", () => {
  at("new").setAttribute("aria-pressed", "true");
  at("user").value = "";
  at("pick").hidden = false;
  chosen.clear();
  at("hint").textContent = "Click three products that you like.";
  show("What somebody gets of whom nothing is known.", () => call("/api/fold-in", {items: []}));
  offer("");
});

let typing;
at("find").addEventListener("input", (event) => {
  clearTimeout(typing);
  typing = setTimeout(() => offer(event.target.value), 200);
});

function picture(key) {
  const button = make("button", "", {type: "button", className: "picture"});
  button.append(make("img", "", {src: `/pictures/${encodeURIComponent(key)}`, alt: `picture ${key}`, width: 80, height: 80}));
  button.addEventListener("click", () => alike(key));
  return button;
}

async function alike(key) {
  try {
    at("alike").replaceChildren(...(await call(`/api/alike/${encodeURIComponent(key)}`)).map(picture));
  } catch (error) {
    at("alike").textContent = error.message;
  }
}

at("pictures")?.addEventListener("click", (event) => {
  const key = event.target.closest("button")?.dataset.key;
  if (key) alike(key);
});

at("open-ask").addEventListener("click", async () => {
  at("answer").textContent = "The model is being loaded …";
  try {
    const items = await call("/api/asked");
    at("item").replaceChildren(...items.map((item) => make("option", item)));
    at("ask").hidden = false;
    at("open-ask").hidden = true;
    at("answer").textContent = "";
    at("question").focus();
  } catch (error) {
    at("answer").textContent = error.message;
  }
});

at("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  at("answer").textContent = "…";
  try {
    const found = await call("/api/ask", {item: at("item").value, question: at("question").value});
    at("answer").textContent = found.answer ? `“${found.answer}” (review ${found.review})` : "No review answers that.";
  } catch (error) {
    at("answer").textContent = error.message;
  }
});
