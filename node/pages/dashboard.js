// The dashboard: reads /api/status each second and shows what a person wants to know. Nothing
// is made anew that has not changed: text stays selected, menus stay open, nothing jumps.
import { atAdminDoor } from "./door.js";
import { Player, kbps, shortName } from "./player.js";

const EVERY_MS = 1000, ANSWER_MS = 5000;
const TROUBLE_MS = 60_000;
const PREVIEW_EVERY_MS = 1000, PREVIEW_AGAIN_MS = 5000;

const at = (id) => document.getElementById(id);
const player = new Player();
const cards = new Map();
let chosen = null, chosenSince = 0;

// --- small helpers ---

function make(tag, props = {}, ...children) {
  const node = Object.assign(document.createElement(tag), props);
  node.append(...children);
  return node;
}

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const fps = (r) => r.fps ? `${r.fps.toFixed(Math.abs(r.fps - Math.round(r.fps)) < 0.005 ? 0 : 2)} fps` : "";
const picture = (r) => r.width ? [`${r.width}×${r.height}`, fps(r)].filter(Boolean).join(" · ") : "audio only";
const host = (uri) => uri ? uri.replace(/^https?:\/\//, "").replace(/\/$/, "") : "";

const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;

function age(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 90) return `${s} s`;
  return s < 5400 ? `${Math.round(s / 60)} min` : `${Math.round(s / 3600)} h`;
}

// --- a picture of each stream, drawn now and then: from the player for the chosen one, else
// from a silent player of the smallest quality, which exists only while its card can be seen ---

class Preview {
  constructor(name) {
    this.name = name;
    this.canvas = make("canvas", { width: 256, height: 144 });
    this.timer = setInterval(() => this.tick(), PREVIEW_EVERY_MS);
    this.sight = new IntersectionObserver((seen) => { this.inSight = seen.at(-1).isIntersecting; });
    this.sight.observe(this.canvas);
  }

  tick() {
    const needed = this.inSight && !document.hidden && chosen !== this.name && this.state === "live";
    if (needed && !this.hls) this.open();
    if (!needed) this.shut();
    const video = chosen === this.name ? player.video : this.video;
    if (video?.videoWidth && video.readyState >= 2)
      this.canvas.getContext("2d").drawImage(video, 0, 0, this.canvas.width, this.canvas.height);
  }

  open() {
    if (!window.Hls || !Hls.isSupported() || performance.now() < this.notBefore) return;
    this.video = make("video", { muted: true, playsInline: true });
    this.hls = new Hls({ capLevelToPlayerSize: false, maxBufferLength: 4, backBufferLength: 0 });
    this.hls.on(Hls.Events.MANIFEST_PARSED, (_, d) => this.begin(d.levels));
    this.hls.on(Hls.Events.ERROR, (_, d) => { if (d.fatal) this.shut(); });
    this.hls.loadSource(`${player.base}/stream/${encodeURIComponent(this.name)}.m3u8`);
    this.hls.attachMedia(this.video);
  }

  begin(levels) {
    const smallest = levels.reduce((best, l, i) => l.bitrate < levels[best].bitrate ? i : best, 0);
    this.hls.autoLevelCapping = this.hls.startLevel = smallest;
    this.video.play().catch(() => {}); // without a picture the card is still a button
  }

  shut() {
    if (!this.hls) return;
    this.hls.destroy();
    this.hls = this.video = null;
    this.notBefore = performance.now() + PREVIEW_AGAIN_MS;
  }

  free() {
    clearInterval(this.timer);
    this.sight.disconnect();
    this.shut();
  }
}

// --- the list of streams ---

// A stream that has no segment yet is live for the gateway, not for a viewer.
const stateOf = (s) => s.state === "live" && !s.segments ? "opening" : s.state;
const stateText = { opening: "starting", live: "live", waiting: "interrupted", ended: "ended" };

function newCard(name) {
  const preview = new Preview(name);
  const c = { preview, state: make("span", { className: "state" }), what: make("span", { className: "what" }),
    rate: make("span", { className: "what" }) };
  c.button = make("button", { className: "card", type: "button" }, preview.canvas,
    make("span", { className: "name" }, make("strong", { textContent: name }), c.state), c.what, c.rate);
  c.button.addEventListener("click", () => choose(name));
  cards.set(name, c);
  at("streams").append(c.button);
  return c;
}

function showCard(stream) {
  const c = cards.get(stream.name) ?? newCard(stream.name);
  write(c.state, stateText[stateOf(stream)]);
  c.state.dataset.state = stateOf(stream);
  c.preview.state = stream.state;
  write(c.what, stream.segments ? picture(stream.source) : "no picture yet");
  const bitrate = stream.renditions[0]?.bitrate;
  write(c.rate, `${bitrate ? `${kbps(bitrate)} · ` : ""}for ${age(Date.now() - stream.since_ms)}`);
  c.button.setAttribute("aria-pressed", stream.name === chosen);
}

function removeGone(streams) {
  for (const [name, c] of cards) {
    if (streams.some((s) => s.name === name)) continue;
    c.preview.free();
    c.button.remove();
    cards.delete(name);
  }
}

function choose(name) {
  chosen = name;
  at("stage").hidden = false; // before the player starts: hidden videos are slow to begin
  at("stage-name").textContent = name;
  at("share").href = `${player.base}/play/${encodeURIComponent(name)}`;
  for (const [other, c] of cards) c.button.setAttribute("aria-pressed", other === name);
  for (const id of ["renditions", "orchestrators"]) fill(id, [], "…");
  player.play(name);
}

// The chosen stream as the gateway sees it now. One that is gone makes place for another.
function current(streams) {
  let now = streams.find((s) => s.name === chosen);
  if (!now) {
    const playable = streams.filter((s) => s.renditions.some((r) => r.bitrate));
    now = playable.find((s) => s.state === "live") ?? playable[0];
    if (now) choose(now.name);
    else if (chosen) leave();
  } else if (now.since_ms !== chosenSince && player.ended && now.state !== "ended") {
    player.play(chosen); // published again under the same name
  }
  chosenSince = now?.since_ms;
  return now;
}

function leave() {
  chosen = null;
  player.stop();
}

// --- facts about the chosen one ---

// rows: { cells: [text or node ...], state, note }. Cells are written only where they differ.
function fill(id, rows, empty) {
  const lines = rows.flatMap((r) => r.note ? [r, { note: r.note }] : [r]);
  if (!rows.length) lines.push({ note: empty, quiet: true });
  const body = at(id).tBodies[0];
  while (body.rows.length > lines.length) body.lastChild.remove();
  lines.forEach((line, i) => fillRow(body.rows[i] ?? body.appendChild(newRow()), line, id));
}

function newRow() {
  const row = make("tr");
  row.setAttribute("role", "row");
  return row;
}

function fillRow(row, line, id) {
  const cells = line.cells ?? [line.note];
  row.dataset.kind = line.cells ? "row" : line.quiet ? "quiet" : "why";
  row.toggleAttribute("data-now", Boolean(line.now));
  while (row.cells.length > cells.length) row.lastChild.remove();
  cells.forEach((text, i) => {
    const cell = row.cells[i] ?? row.appendChild(make("td"));
    cell.setAttribute("role", "cell");
    cell.colSpan = line.cells ? 1 : at(id).tHead.rows[0].cells.length;
    cell.dataset.state = line.cells && line.state === text ? text : "";
    write(cell, text);
  });
}

function renditionRow(r, watching) {
  const source = r.name === "source";
  const took = source || !r.ratio ? "–" : `${seconds(r.round_trip_ms)} for ${seconds(r.round_trip_ms / r.ratio)} of video`;
  return {
    cells: [source ? "Source" : shortName(r.name), r.bitrate ? picture(r) : "–", r.bitrate ? kbps(r.bitrate) : "–",
      source ? "the publisher" : host(r.orchestrator) || "nobody yet", took],
    now: r.name === watching,
    note: r.gaps ? `${r.gaps} of the segments listed now ${r.gaps > 1 ? "are" : "is"} missing` : "",
  };
}

function orchestratorRow(o) {
  return { cells: [host(o.uri), o.state, String(o.segments), String(o.failures)], state: o.state, note: o.reason };
}

function whyNone(status, stream) {
  if (stream.state === "ended") return "Released: the stream has ended";
  return status.candidates_trouble || (status.candidates.length ? "None is needed: this stream is not transcoded"
    : "None is known: start the gateway with -orchAddr. Until then only the source plays");
}

// What is wrong at this moment, and what it means for who watches.
function wrongNow(stream) {
  const wrong = [];
  if (stream.state === "waiting")
    wrong.push("The publisher was cut off. The stream goes on when it returns, else it ends in a while.");
  const asked = stream.orchestrators;
  if (stateOf(stream) === "live" && asked.length && !asked.some((o) => o.state === "ready"))
    wrong.push("No orchestrator can be used: only the source plays. The gateway tries them again and again.");
  return wrong.map((text) => ["now", text]);
}

function showTroubles(stream) {
  const list = at("troubles");
  const recent = stream.troubles.filter((t) => Date.now() - t.at_ms < TROUBLE_MS);
  const lines = [...wrongNow(stream), ...recent.map((t) => [`${age(Date.now() - t.at_ms)} ago`, t.segment >= 0 ? `segment ${t.segment}: ${t.text}` : t.text])];
  list.classList.toggle("good", !lines.length);
  if (!lines.length) lines.push(["", "Nothing"]);
  while (list.children.length > lines.length) list.lastChild.remove();
  lines.forEach(([when, what], i) => {
    const item = list.children[i] ?? list.appendChild(make("li", {}, make("span"), make("span")));
    write(item.firstChild, when);
    write(item.lastChild, what);
  });
}

function showFacts(status, stream) {
  const watching = player.playing();
  fill("renditions", stream.renditions.map((r) => renditionRow(r, watching)), stream.state === "ended" ? "The stream has ended" : "No segment yet");
  fill("orchestrators", stream.orchestrators.map(orchestratorRow), whyNone(status, stream));
  showTroubles(stream);
  at("stage").dataset.stream = stream.name; // whose facts these are
}

function summary(streams) {
  const count = (state) => streams.filter((s) => stateOf(s) === state).length;
  const live = count("live"), waiting = count("waiting");
  if (!live && !waiting) return count("opening") ? "A stream is starting" : "No stream is live";
  return [live && `${live} stream${live > 1 ? "s" : ""} live`, waiting && `${waiting} interrupted`]
    .filter(Boolean).join(", ");
}

function showEmpty(starting) {
  write(at("empty-title"), starting ? `“${starting.name}” is starting` : "No stream is live");
  write(at("empty-text"), starting ? "Its first pictures are on their way. They come with its second key frame."
    : "Send one in any of the ways below. It appears here by itself, first in the quality you send, a moment later in all others.");
}

function show(status) {
  showAddresses(status);
  const streams = status.streams;
  const now = current(streams);
  removeGone(streams);
  streams.forEach(showCard);
  at("stage").hidden = !now;
  if (!now) showEmpty(streams.find((s) => stateOf(s) === "opening"));
  at("empty").hidden = Boolean(now);
  if (now) showFacts(status, now);
  write(at("summary"), summary(streams));
}

function alarm(text) {
  write(at("alarm"), text);
  at("alarm").hidden = !text;
  document.body.classList.toggle("stale", Boolean(text));
}

async function read() {
  const answer = await fetch("/api/status", { cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS) });
  if (!answer.ok) throw new Error(`it answers with status ${answer.status}`);
  return answer.json();
}

async function refresh() {
  try {
    const status = await read();
    alarm("");
    show(status);
  } catch (error) {
    alarm("The gateway does not answer. Is it running? What you see is how it was; this page goes on by itself when it is back.");
    write(at("summary"), "No answer");
    console.info(error);
  }
  setTimeout(refresh, EVERY_MS);
}

// --- how to send ---

let rtmp = "", http = "";

const portOf = (addr) => addr.slice(addr.lastIndexOf(":") + 1);
const isLocal = (name) => /^(127\..*|localhost|\[?::1\]?)$/.test(name);

// Where this browser reaches an address the gateway listens on: a wildcard or loopback is meant
// as "this machine", which the browser knows by the name in its address bar.
function reach(addr) {
  const name = addr.slice(0, addr.lastIndexOf(":"));
  return `${/^(|0\.0\.0\.0|\[::\])$/.test(name) || isLocal(name) ? location.hostname : name}:${portOf(addr)}`;
}

function showAddresses(status) {
  http = atAdminDoor ? `http://${reach(status.http_addr)}` : location.origin;
  player.base = atAdminDoor ? http : "";
  rtmp = status.rtmp_addr ? `rtmp://${reach(status.rtmp_addr)}/live` : "";
  const far = status.rtmp_addr && isLocal(status.rtmp_addr.replace(/:\d+$/, "")) && !isLocal(location.hostname);
  write(at("rtmp-reach"), far ? `RTMP is taken from the gateway's own machine only; start it with -rtmpAddr 0.0.0.0:${portOf(status.rtmp_addr)} to send from others.` : "");
  writeLines();
}

function writeLines() {
  const stream = encodeURIComponent(at("push-name").value.trim() || "mystream");
  write(at("obs-server"), rtmp);
  write(at("obs-key"), stream);
  write(at("rtmp-url"), `${rtmp}/${stream}`);
  write(at("ffmpeg-line"), `ffmpeg -re -i FILE -c:v libx264 -g 60 -c:a aac -f flv ${rtmp}/${stream}`);
  write(at("curl-line"),
    `curl -T segment.ts -H 'Accept: multipart/mixed' -H 'Content-Duration: 2000' ${http}/live/${stream}/0.ts`);
}

async function copy(button) {
  const source = at(button.dataset.copy);
  let done = "Copied";
  try {
    await navigator.clipboard.writeText(source.textContent);
  } catch { // only pages that came over TLS or from this machine may write the clipboard
    getSelection().selectAllChildren(source);
    done = "Selected";
  }
  button.textContent = done;
  at("said").textContent = `${done}: ${source.textContent}`;
  setTimeout(() => { button.textContent = "Copy"; at("said").textContent = ""; }, 1500);
}

at("push-name").addEventListener("input", writeLines);
for (const button of document.querySelectorAll("[data-copy]")) {
  button.setAttribute("aria-describedby", button.dataset.copy);
  button.addEventListener("click", () => copy(button));
}
refresh();
