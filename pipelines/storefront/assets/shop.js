// Draws what the server answers. Text from data becomes text nodes alone.
const at = (id) => document.getElementById(id);
const chosen = new Set();
let turn = 0;
let search = 0;
let wanted = 0;

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

function image(key, title) {
  return make("img", "", {src: `/pictures/${encodeURIComponent(key)}`, alt: title, loading: "lazy", width: 80, height: 80});
}

function action(text, title, run) {
  const button = make("button", text, {type: "button", className: "plain"});
  button.setAttribute("aria-label", `${text} ${title}`);
  button.addEventListener("click", run);
  return button;
}

function draw(items) {
  at("list").replaceChildren(...items.map((item, place) => {
    const line = make("li");
    const why = make("p", item.why, {className: "why", hidden: true, id: `why-${place}`});
    const button = action("why this?", item.title, () => {
      why.hidden = !why.hidden;
      button.setAttribute("aria-expanded", String(!why.hidden));
    });
    button.setAttribute("aria-expanded", "false");
    button.setAttribute("aria-controls", why.id);
    const told = make("div");
    told.append(make("span", item.title, {className: "title"}), make("span", item.category, {className: "quiet"}), button);
    if (item.picture) {
      line.className = "pictured";
      line.append(image(item.picture, ""));
      told.append(action("looks alike", item.title, () => { go("alike-title"); alike(item.picture, item.title); }));
    }
    if (item.said) told.append(action("what buyers say", item.title, () => { go("said-title"); at("spoken").value = item.id; said(item.id); }));
    told.append(why);
    line.append(told);
    return line;
  }));
}

function go(title) {
  at(title).focus({preventScroll: true});
  at(title).scrollIntoView();
}

async function show(said, ask) {
  const mine = ++turn;
  at("said").textContent = "…";
  try {
    const found = await ask();
    if (mine !== turn) return; // a later click was answered before
    draw(found.items);
    at("said").textContent = said(found);
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
    if (item.picture) button.append(image(item.picture, ""));
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
  if (missing <= 0) show(() => `For somebody new with ${chosen.size} clicks.`, () => call("/api/fold-in", {items: [...chosen]}));
}

function customer(user) {
  at("new").setAttribute("aria-pressed", "false");
  at("pick").hidden = true;
  const told = (found) => found.known ? `The list of ${user}.` : `Nobody called “${user}” has a list. This is what somebody new gets.`;
  show(told, () => call(`/api/lists/${encodeURIComponent(user)}`));
}

async function suggest(beginning) {
  const mine = ++wanted;
  const found = await call(`/api/users?q=${encodeURIComponent(beginning)}`);
  if (mine !== wanted) return; // more was typed meanwhile
  at("users").replaceChildren(...found.map((user) => make("option", "", {value: user})));
}

at("who").addEventListener("submit", (event) => {
  event.preventDefault();
  customer(at("user").value);
});

let naming;
at("user").addEventListener("input", (event) => {
  const user = event.target.value;
  const taken = event.inputType === undefined || event.inputType === "insertReplacementText";
  if (taken && [...at("users").options].some((one) => one.value === user)) return customer(user);
  clearTimeout(naming);
  naming = setTimeout(() => suggest(user), 150);
});

at("new").addEventListener("click", () => {
  at("new").setAttribute("aria-pressed", "true");
  at("user").value = "";
  at("pick").hidden = false;
  chosen.clear();
  at("hint").textContent = "Click three products that you like.";
  show(() => "What somebody gets of whom nothing is known.", () => call("/api/fold-in", {items: []}));
  offer("");
});

let typing;
at("find").addEventListener("input", (event) => {
  clearTimeout(typing);
  typing = setTimeout(() => offer(event.target.value), 200);
});

function picture(one) {
  const title = one.title || `picture ${one.key}`;
  const button = make("button", "", {type: "button", className: "picture"});
  button.append(image(one.key, title));
  if (one.kind) button.append(make("span", one.kind, {className: "quiet"}));
  button.addEventListener("click", () => alike(one.key, title));
  return button;
}

let seen;
async function alike(key, title) {
  const mine = seen = {key, title};
  const kind = at("kind")?.value ?? "";
  try {
    const found = await call(`/api/alike/${encodeURIComponent(key)}?kind=${encodeURIComponent(kind)}`);
    if (mine !== seen) return;
    at("nearest").textContent = `Nearest to ${title}${kind && ` among ${kind}`}`;
    at("alike").replaceChildren(...found.map(picture));
    if (!found.length) at("alike").textContent = "None of this kind.";
  } catch (error) {
    if (mine === seen) at("alike").textContent = error.message;
  }
}

at("pictures")?.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) alike(button.dataset.key, button.querySelector("img").alt);
});

at("kind")?.addEventListener("change", () => { if (seen) alike(seen.key, seen.title); });

const percent = (share) => `${Math.round(share * 100)} %`;

function interval(one) {
  // The line is the interval, the dot the share; the words beside it say the same.
  const space = "http://www.w3.org/2000/svg";
  const node = (name, more) => {
    const made = document.createElementNS(space, name);
    Object.entries(more).forEach(([key, value]) => made.setAttribute(key, value));
    return made;
  };
  const drawn = node("svg", {viewBox: "-4 0 108 12", class: "interval", "aria-hidden": "true"});
  drawn.append(
    node("line", {x1: 0, x2: 100, y1: 6, y2: 6, class: "rule"}), node("line", {x1: 50, x2: 50, y1: 2, y2: 10, class: "rule"}),
    node("line", {x1: one.low * 100, x2: one.high * 100, y1: 6, y2: 6, class: "reach"}),
    node("circle", {cx: one.share * 100, cy: 6, r: 3.5, class: "dot"}));
  return drawn;
}

function source(one) {
  return [`review ${one.review}`, one.date, one.stars && `${one.stars} stars`].filter(Boolean).join(", ");
}

function quoted(one, language = "") {
  const text = make("blockquote", "", {lang: language});
  text.append(make("span", one.text), make("cite", source(one)));
  return text;
}

function aspect(one) {
  const part = make("article", "", {className: "aspect"});
  const head = make("h3", "");
  head.append(make("span", one.of, {lang: one.language}));
  if (one.others.length) head.append(make("span", ` ${one.others.join(", ")}`, {className: "quiet", lang: one.language}));
  part.append(head);
  const votes = `${one.positive} praise, ${one.negative} blame, of ${one.reviews} ${one.reviews === 1 ? "review" : "reviews"}`;
  if (one.share === null) part.append(make("p", votes, {className: "quiet"}));
  else {
    const line = make("p", "", {className: "share"});
    line.append(interval(one), make("b", percent(one.share)),
      make("span", `positive, ${percent(one.low)} to ${percent(one.high)} · ${votes}`, {className: "quiet"}));
    part.append(line);
  }
  const sides = [["For", one.praise], ["Against", one.blame]].filter(([, quotes]) => quotes.length);
  if (sides.length) {
    const more = make("details");
    more.append(make("summary", `Quotes on ${one.of}`));
    for (const [side, quotes] of sides) more.append(make("h4", side), ...quotes.map((each) => quoted(each, one.language)));
    part.append(more);
  }
  return part;
}

let heard = 0;
async function said(item) {
  const mine = ++heard;
  at("said-hint").textContent = "…";
  try {
    const found = await call(`/api/said?item=${encodeURIComponent(item)}`);
    if (mine !== heard) return;
    at("said-hint").textContent = item ? `What buyers say of ${found.title}.` : "What buyers say where they name no product.";
    at("aspects").replaceChildren(...found.aspects.map(aspect));
  } catch (error) {
    if (mine !== heard) return;
    at("said-hint").textContent = error.message;
    at("aspects").replaceChildren();
  }
}

at("spoken")?.addEventListener("change", (event) => said(event.target.value));

at("open-ask").addEventListener("click", async () => {
  at("answered").textContent = "The model is being loaded …";
  try {
    const items = await call("/api/asked");
    at("item").replaceChildren(...items.map((one) => make("option", one.title, {value: one.id})));
    at("ask").hidden = false;
    at("open-ask").hidden = true;
    at("answered").textContent = "";
    at("question").focus();
  } catch (error) {
    at("answered").textContent = error.message;
  }
});

function answer(found) {
  const parts = [];
  if (found.quote) {
    const text = make("blockquote");
    text.append(found.quote.before, make("mark", found.quote.quoted), found.quote.after, make("cite", source(found.quote)));
    parts.push(text);
  }
  const words = found.asks === "yes or no" ? ["say yes", "say no"] : ["praise", "blame"];
  const sides = [found.says_yes, found.says_no].map((names, at) => names.length && `${names.length} ${words[at]} (${names.join(", ")})`);
  if (sides.some(Boolean)) parts.push(make("p", `Of the reviews quoted, ${sides.filter(Boolean).join(", ")}.`));
  for (const [title, quotes] of [["Further quotes", found.further], ["Reviews that come nearest", found.nearest]]) {
    if (!quotes.length) continue;
    const more = make("details");
    more.append(make("summary", `${title} (${quotes.length})`), ...quotes.map((one) => quoted(one)));
    parts.push(more);
  }
  return parts;
}

at("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  at("answered").textContent = "…";
  at("answer").replaceChildren();
  try {
    const found = await call("/api/ask", {item: at("item").value, question: at("question").value});
    at("answered").textContent = `${found.answer ? `“${found.answer}”` : "No review answers that."} (${percent(found.confidence)} sure)`;
    at("answer").replaceChildren(...answer(found));
  } catch (error) {
    at("answered").textContent = error.message;
  }
});
