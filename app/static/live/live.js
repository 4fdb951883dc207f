// Signs in, draws a ticket, opens the socket, shows its frames, and resumes after the last one when the socket closes.
const { base } = document.body.dataset;
const SHOWN = 200;
const SESSION_OVER = 4401;

const $ = (id) => document.getElementById(id);
let tokens = null; // in memory only: gone with the page
let socket = null;
let lastEventId = null;
let attempts = 0;
let made = 0;
const counts = { events: 0, connections: 0 };

async function call(method, path, { body, form, retried } = {}) {
  const headers = {};
  if (tokens) headers.Authorization = `Bearer ${tokens.access_token}`;
  if (body) headers["Content-Type"] = "application/json";
  const response = await fetch(base + path, { method, headers, body: form ?? (body && JSON.stringify(body)) });
  if (response.status === 401 && tokens && !retried && (await refresh())) return call(method, path, { body, form, retried: true });
  const answer = response.status === 204 ? null : await response.json();
  if (!response.ok) throw Object.assign(new Error(answer.detail ?? answer.title), { status: response.status });
  return { answer, headers: response.headers };
}

async function refresh() {
  const body = JSON.stringify({ refresh_token: tokens.refresh_token });
  const response = await fetch(`${base}/auth/refresh`, { method: "POST", headers: { "Content-Type": "application/json" }, body });
  if (response.ok) tokens = await response.json();
  return response.ok;
}

async function connect() {
  if (!tokens) return;
  say("connecting", attempts ? `Reconnecting, attempt ${attempts} …` : "Connecting …");
  let ticket;
  try {
    ticket = (await call("POST", "/ws/tickets")).answer.ticket;
  } catch (error) {
    return error.status === 401 ? signOut("The session is over; sign in again.") : retry(error.message);
  }
  const query = new URLSearchParams({ ticket });
  if (lastEventId) query.set("last_event_id", lastEventId);
  socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}${base}/ws?${query}`);
  socket.onopen = opened;
  socket.onmessage = (message) => received(JSON.parse(message.data));
  socket.onclose = (event) => closed(event);
}

function opened() {
  attempts = 0;
  counts.connections += 1;
  say("open", "Listening");
  // Whoever has no event to resume after cannot know what happened before: load the state once the socket is open.
  if (!lastEventId) loadState();
  show();
}

function received(frame) {
  if (frame.id) lastEventId = frame.id;
  counts.events += 1;
  if (frame.type === "events.missed") {
    lastEventId = null;
    loadState();
  } else if (frame.type.startsWith("item.")) {
    loadState();
  }
  addFrame(frame);
  show();
}

function closed(event) {
  socket = null;
  if (!tokens) return;
  if (event.code === SESSION_OVER) return signOut("The session was ended; sign in again.");
  note(`Closed with ${event.code}${event.reason ? `: ${event.reason}` : ""}. ${lastEventId ? "Resuming after the last event." : ""}`);
  retry();
}

function retry() {
  // Doubling with jitter, so that a thousand clients of a restarted server do not come back at the same moment.
  const seconds = Math.min(30, 0.5 * 2 ** attempts) * (0.5 + Math.random() / 2);
  attempts += 1;
  say("connecting", `Reconnecting in ${seconds.toFixed(1)} s …`);
  setTimeout(connect, seconds * 1000);
}

async function loadState() {
  try {
    const { answer, headers } = await call("GET", "/items/?limit=100");
    $("items").textContent = answer.length + (headers.get("Link")?.includes('rel="next"') ? "+" : "");
  } catch {
    $("items").textContent = "–";
  }
}

function addFrame(frame) {
  const entry = document.createElement("li");
  entry.className = frame.type.split(".")[1];
  const details = entry.appendChild(document.createElement("details"));
  const summary = details.appendChild(document.createElement("summary"));
  for (const [className, text] of [["type", frame.type], ["what", describe(frame)]]) {
    const part = summary.appendChild(document.createElement("span"));
    part.className = className;
    part.textContent = text;
  }
  const at = summary.appendChild(document.createElement("time"));
  at.dateTime = frame.at ?? "";
  at.textContent = new Date(frame.at ?? Date.now()).toLocaleTimeString();
  details.appendChild(document.createElement("pre")).textContent = JSON.stringify(frame, null, 2);
  prepend(entry);
}

function describe({ type, data }) {
  if (type === "events.missed") return "Redis no longer had what this page missed, so it loaded everything anew.";
  if (type.startsWith("job.")) return `#${data.id} ${data.kind ?? ""} ${data.state ?? ""}, ${data.progress ?? 0} rows`;
  return [data?.id ? `#${data.id}` : "", data?.title ?? ""].join(" ");
}

function note(text) {
  const entry = document.createElement("li");
  entry.className = "note";
  entry.textContent = text;
  prepend(entry);
}

function prepend(entry) {
  $("frames").prepend(entry);
  while ($("frames").children.length > SHOWN) $("frames").lastChild.remove();
  $("empty").hidden = true;
}

function say(state, text) {
  $("state").dataset.state = state;
  $("state").textContent = text;
}

function show() {
  $("events").textContent = counts.events;
  $("connections").textContent = counts.connections;
  $("last").textContent = lastEventId ?? "none yet";
}

function complain(text) {
  $("problem").textContent = text ?? "";
  $("problem").hidden = !text;
}

function signOut(reason) {
  tokens = null;
  lastEventId = null;
  attempts = 0;
  socket?.close(1000);
  $("live").hidden = true;
  $("sign-in").hidden = false;
  complain(reason);
}

$("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  complain();
  try {
    const form = new URLSearchParams({ username: $("email").value, password: $("password").value });
    tokens = (await call("POST", "/auth/login", { form })).answer;
  } catch (error) {
    return complain(error.message);
  }
  $("password").value = "";
  $("sign-in").hidden = true;
  $("live").hidden = false;
  connect();
});

$("create").addEventListener("click", async () => {
  made += 1;
  $("create").disabled = true;
  try {
    await call("POST", "/items/", { body: { title: `Made on the live page, no. ${made}`, attributes: { source: "live" } } });
  } catch (error) {
    note(`The item was not created: ${error.message}`);
  } finally {
    $("create").disabled = false;
  }
});

$("drop").addEventListener("click", () => socket?.close(3000, "dropped on purpose"));

$("sign-out").addEventListener("click", async () => {
  await call("POST", "/auth/logout").catch(() => null);
  signOut();
});
