"use strict";

const REFRESH_MS = 2000;
const MOST_SHOWN = 500;
const VIEWS = ["html", "text", "headers"];

const element = (id) => document.getElementById(id);
const state = { mails: [], picked: null, shown: null, view: "html" };

function node(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}

function matching() {
  const words = element("search").value.toLowerCase();
  const haystack = (mail) => [mail.to.join(" "), mail.from, mail.subject, mail.text ?? ""].join(" ").toLowerCase();
  const found = words ? state.mails.filter((mail) => haystack(mail).includes(words)) : state.mails;
  return found.slice(0, MOST_SHOWN);
}

function at(mail) {
  const sent = new Date(mail.sent_at);
  const today = sent.toDateString() === new Date().toDateString();
  return today ? sent.toLocaleTimeString() : sent.toLocaleString();
}

function showList() {
  const mails = matching();
  if (!mails.some((mail) => mail.id === state.picked)) state.picked = mails[0]?.id ?? null;
  const focused = document.activeElement?.dataset?.id;
  element("list").replaceChildren(
    ...mails.map((mail) => {
      const button = node("button", "", "");
      const time = node("time", "", at(mail));
      time.dateTime = mail.sent_at;
      button.type = "button";
      button.dataset.id = mail.id;
      button.setAttribute("aria-current", String(mail.id === state.picked));
      button.append(node("span", "to", mail.to.join(", ")), time, node("span", "subject", mail.subject || "(no subject)"));
      button.addEventListener("click", () => pick(mail.id));
      const entry = document.createElement("li");
      entry.append(button);
      return entry;
    }),
  );
  if (focused) document.querySelector(`[data-id="${CSS.escape(focused)}"]`)?.focus();
  element("count").textContent = state.mails.length || "";
  element("clear").hidden = state.mails.length === 0;
  element("empty").hidden = mails.length > 0;
  showMail(mails.find((mail) => mail.id === state.picked));
}

function showMail(mail) {
  element("mail").hidden = !mail;
  if (!mail || state.shown === mail.id) return;
  state.shown = mail.id;
  element("subject").textContent = mail.subject || "(no subject)";
  const facts = { From: mail.headers.From ?? mail.from, To: mail.to.join(", "), Sent: new Date(mail.sent_at).toLocaleString() };
  element("facts").replaceChildren(...Object.entries(facts).flatMap(([name, value]) => [node("dt", "", name), node("dd", "", value)]));
  element("text").textContent = mail.text ?? "";
  element("headers").tBodies[0].replaceChildren(
    ...Object.entries(mail.headers).map(([name, value]) => {
      const row = document.createElement("tr");
      row.append(node("th", "", name), node("td", "", value));
      return row;
    }),
  );
  element("html").src = mail.html === null ? "about:blank" : `/messages/${encodeURIComponent(mail.id)}`;
  showView(mail);
}

function showView(mail) {
  const there = { html: mail.html !== null, text: mail.text !== null, headers: true };
  const view = there[state.view] ? state.view : VIEWS.find((name) => there[name]);
  for (const name of VIEWS) {
    const tab = document.querySelector(`[data-view="${name}"]`);
    tab.hidden = !there[name];
    tab.setAttribute("aria-selected", String(name === view));
    element(name).hidden = name !== view;
  }
}

function pick(id) {
  state.picked = id;
  showList();
}

async function refresh() {
  try {
    const response = await fetch("/api/messages");
    if (!response.ok) throw new Error(response.statusText);
    const mails = await response.json();
    const changed = mails.length !== state.mails.length || mails[0]?.id !== state.mails[0]?.id;
    state.mails = mails;
    if (changed) showList();
    element("offline").hidden = true;
  } catch {
    element("offline").hidden = false;
  }
}

element("search").addEventListener("input", showList);
element("clear").addEventListener("click", async () => {
  await fetch("/api/messages", { method: "DELETE" });
  await refresh();
});
for (const tab of document.querySelectorAll("[data-view]")) {
  tab.addEventListener("click", () => {
    state.view = tab.dataset.view;
    showView(state.mails.find((mail) => mail.id === state.picked));
  });
}

async function run() {
  await refresh();
  setTimeout(run, document.hidden ? REFRESH_MS * 5 : REFRESH_MS);
}

run();
