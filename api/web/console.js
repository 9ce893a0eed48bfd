// What the web page does: chat, search, and the prompt of the last reply. Data enters the page as text only.
"use strict";

const $ = (id) => document.getElementById(id);
// Messages on the page by their id. Ids are data: as ids of elements they would answer to $.
const shown = new Map();
const OFFLINE = $("banner").textContent;
const PARTS = ["lexical", "vector", "neighbours", "completed", "session", "speaker"];

function make(tag, options = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (name === "text") node.textContent = value;
    else if (name === "click") node.addEventListener("click", value);
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

async function call(method, path, body) {
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: body ? { "content-type": "application/json" } : {},
      body: body ? JSON.stringify(body) : undefined,
    });
  } catch {
    throw new Error("The service does not answer.");
  }
  const answer = await response.json().catch(() => null);
  if (!response.ok) throw new Error(answer?.error?.message ?? `The service answered ${response.status}.`);
  return answer;
}

function showError(error) {
  $("error").hidden = !error;
  $("error").textContent = error ? error.message : "";
}

async function guarded(form, work) {
  const button = form.querySelector("button");
  button.disabled = true;
  showError(null);
  try {
    await work();
  } catch (error) {
    showError(error);
  } finally {
    button.disabled = false;
  }
}

const day = (iso) => iso.slice(0, 16).replace("T", " ");

function emptyLog() {
  shown.clear();
  $("log").replaceChildren();
}

function newConversation() {
  $("conversation").value = "web-" + Math.random().toString(36).slice(2, 8);
  emptyLog();
  $("message").focus();
}

async function listConversations() {
  const { data } = await call("GET", "/v1/memory/conversations?limit=100");
  const current = $("conversation").value;
  $("conversations").replaceChildren(
    ...data.map((row) => {
      const open = make("button", { type: "button", click: () => openConversation(row.conversation_id).catch(showError) },
        make("span", { text: row.conversation_id }),
        make("br"),
        make("small", { text: `${row.messages} messages · ${row.agent ?? "no agent"} · ${row.created_at.slice(0, 10)}` }));
      open.setAttribute("aria-current", String(row.conversation_id === current));
      return make("li", {}, open);
    }));
}

async function openConversation(id, messageId) {
  const base = `/v1/memory/conversations/${encodeURIComponent(id)}/messages?order=asc&limit=1000`;
  const rows = [];
  for (let page = await call("GET", base); ; page = await call("GET", `${base}&after=${encodeURIComponent(page.last_id)}`)) {
    rows.push(...page.data);
    if (!page.has_more) break;
  }
  $("conversation").value = id;
  emptyLog();
  for (const row of rows) addMessage(row.role, row.name ?? row.agent ?? row.role, row.text, row.created_at, row.message_id);
  const target = shown.get(messageId);
  if (target) {
    target.classList.add("found");
    target.scrollIntoView({ block: "center" });
  }
  await listConversations();
}

function addMessage(role, who, text, at, id) {
  const label = role === "user" && who === "user" ? "you" : who;
  const item = make("li", { class: role === "assistant" ? "assistant" : "other" },
    make("div", { class: "quiet", text: at ? `${label} · ${day(at)}` : label }),
    make("span", { text }));
  if (id) shown.set(id, item);
  $("log").append(item);
  $("log").scrollTop = $("log").scrollHeight;
}

async function say() {
  const message = $("message").value;
  const id = $("conversation").value.trim();
  if (!message.trim()) return;
  const agent = $("agent").value;
  const reply = await call("POST", `/v1/assistant/conversations/${encodeURIComponent(id)}/messages`, { message, agent });
  $("message").value = "";
  addMessage("user", "user", message);
  addMessage("assistant", reply.agent, reply.text, null, reply.message_id);
  showPrompt(await call("GET", `/v1/memory/contexts/${reply.manifest_id}`));
  await listConversations();
}

function showPrompt(prompt) {
  const { manifest } = prompt;
  const share = Math.min(100, (100 * prompt.tokens) / manifest.token_budget);
  const body = make("tbody", {}, ...manifest.items.map((item) =>
    make("tr", {}, make("td", { text: item.kind }), make("td", { text: item.tokens }), make("td", { text: reason(item.why) }))));
  const head = make("thead", {}, make("tr", {}, ...["kind", "tokens", "why"].map((text) => make("th", { text }))));
  const details = make("details", {}, make("summary", { text: "The whole prompt" }),
    ...prompt.messages.flatMap((m) => [
      make("h3", { class: "quiet", text: m.role }),
      make("pre", { text: typeof m.content === "string" ? m.content : JSON.stringify(m.content, null, 1) }),
    ]));
  const bar = make("div", { class: "bar" }, make("div", { class: "used" }));
  bar.firstChild.style.width = `${share}%`;
  $("prompt").replaceChildren(
    make("p", { class: "quiet", text: `${prompt.tokens} of ${manifest.token_budget} tokens · ${manifest.left_out.length} left out · ${prompt.manifest_id}` }),
    bar, make("table", {}, head, body), details);
}

function reason(why) {
  if (typeof why === "string") return why;
  return `rank ${why.rank}, score ${why.score.toFixed(2)}` + (why.words?.length ? `, words: ${why.words.join(", ")}` : "");
}

async function search() {
  const query = $("query").value;
  const found = await call("POST", "/v1/memory/recall", { query, k: 10, explain: true });
  const funnel = Object.entries(found.funnel).map(([name, count]) => `${name.replaceAll("_", " ")} ${count}`).join(" → ");
  $("results").replaceChildren(
    ...(found.hits.length ? found.hits.map(hitCard) : [make("p", { text: "Nothing relevant is remembered." })]),
    make("p", { class: "quiet", text: `${funnel} · ${found.took_ms.toFixed(1)} ms` }));
}

function hitCard(hit) {
  const total = PARTS.reduce((sum, part) => sum + Math.max(0, hit.why[part]), 0) || 1;
  const bar = make("div", { class: "bar", role: "img", "aria-label": PARTS.map((p) => `${p} ${hit.why[p]}`).join(", ") },
    ...PARTS.map((part) => {
      const piece = make("div", { class: part, title: `${part} ${hit.why[part]}` });
      piece.style.width = `${(100 * Math.max(0, hit.why[part])) / total}%`;
      return piece;
    }));
  const open = make("button", { type: "button", text: hit.conversation_id,
    click: () => openConversation(hit.conversation_id, hit.message_id).catch(showError) });
  return make("article", { class: "hit" },
    make("div", { class: "quiet" }, `${hit.score.toFixed(2)} · ${day(hit.created_at)} · ${hit.name ?? hit.role} in `, open),
    make("p", { text: hit.text }), bar,
    make("div", { class: "quiet", text: hit.why.words.length ? `words: ${hit.why.words.join(", ")}` : "by meaning or neighbours" }));
}

async function showStatus() {
  const { status, parts } = await call("GET", "/ready");
  $("status").textContent = `${status} · ` + Object.entries(parts).map(([name, part]) => `${name}: ${part.status}`).join(" · ");
  const ending = parts.model?.switch_offs ?? [];
  $("banner").hidden = parts.model?.status !== "offline" && !ending.length;
  $("banner").textContent = ending.length ? ending.map(switchOff).join(" ") : OFFLINE;
}

function switchOff({ model, date, is_past, replacement }) {
  const when = is_past ? "was switched off" : "is switched off";
  return `The model ${model} ${when} on ${date}${replacement ? `; ${replacement} replaces it` : ""}.`;
}

$("say").addEventListener("submit", (event) => { event.preventDefault(); guarded(event.target, say); });
$("search").addEventListener("submit", (event) => { event.preventDefault(); guarded(event.target, search); });
$("message").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("say").requestSubmit();
  }
});
$("new-conversation").addEventListener("click", newConversation);
newConversation();
Promise.all([showStatus(), listConversations()]).catch(showError);
