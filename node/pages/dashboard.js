// The dashboard: reads /api/status each second and shows what a person wants to know.
import { Player } from "./player.js";

const EVERY_MS = 1000;
const TROUBLE_MS = 60_000;
const PREVIEW_EVERY_MS = 2000;

const at = (id) => document.getElementById(id);
const player = new Player(at("video"), at("quality"), at("player-note"));
const cards = new Map();
let chosen = null;

function make(tag, props = {}, ...children) {
  const node = Object.assign(document.createElement(tag), props);
  node.append(...children);
  return node;
}

const kbps = (bps) => bps >= 1e6 ? `${(bps / 1e6).toFixed(1)} Mb/s` : `${Math.round(bps / 1000)} kb/s`;
const picture = (r) => r.width ? `${r.width}×${r.height}${r.fps ? ` · ${r.fps.toFixed(r.fps % 1 ? 2 : 0)} fps` : ""}` : "audio only";
const host = (uri) => uri ? uri.replace(/^https?:\/\//, "") : "";

function age(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 90) return `${s} s`;
  return s < 5400 ? `${Math.round(s / 60)} min` : `${Math.round(s / 3600)} h`;
}

// --- a picture of each stream: a muted player of the smallest quality, drawn now and then ---

class Preview {
  constructor(name) {
    this.video = make("video", { muted: true, playsInline: true, autoplay: true });
    this.canvas = make("canvas", { width: 320, height: 180 });
    this.name = name;
    this.open();
    this.timer = setInterval(() => this.draw(), PREVIEW_EVERY_MS);
  }

  open() {
    if (!window.Hls || !Hls.isSupported()) return;
    this.hls = new Hls({ startLevel: 0, autoLevelCapping: 0, maxBufferLength: 4, backBufferLength: 0 });
    this.hls.on(Hls.Events.MANIFEST_PARSED, (_, d) => {
      const smallest = d.levels.reduce((best, l, i) => l.bitrate < d.levels[best].bitrate ? i : best, 0);
      this.hls.autoLevelCapping = smallest;
      this.hls.startLevel = smallest;
      this.video.play().catch(() => {});
    });
    this.hls.on(Hls.Events.ERROR, (_, d) => { if (d.fatal) this.reopen(); });
    this.hls.loadSource(`/stream/${encodeURIComponent(this.name)}.m3u8`);
    this.hls.attachMedia(this.video);
  }

  reopen() {
    this.hls.destroy();
    this.again = setTimeout(() => this.open(), 3000);
  }

  draw() {
    if (this.video.videoWidth)
      this.canvas.getContext("2d").drawImage(this.video, 0, 0, this.canvas.width, this.canvas.height);
  }

  close() {
    clearInterval(this.timer);
    clearTimeout(this.again);
    if (this.hls) this.hls.destroy();
  }
}

// --- the list of streams ---

function card(stream) {
  let c = cards.get(stream.name);
  if (!c) {
    const preview = new Preview(stream.name);
    const text = make("span", { className: "what" });
    const state = make("span", { className: "state" });
    const button = make("button", { className: "card", type: "button" },
      preview.canvas, make("strong", { textContent: stream.name }), state, text);
    button.addEventListener("click", () => choose(stream.name));
    c = { preview, button, text, state };
    cards.set(stream.name, c);
    at("streams").append(button);
  }
  c.state.textContent = { live: "live", waiting: "publisher gone, waiting", ended: "ended", opening: "starting" }[stream.state];
  c.state.dataset.state = stream.state;
  c.text.textContent = `${picture(stream.source)} · ${kbps(stream.source.bitrate)} · since ${age(Date.now() - stream.since_ms)}`;
  c.button.setAttribute("aria-pressed", stream.name === chosen);
}

function removeGone(streams) {
  for (const [name, c] of cards) {
    if (streams.some((s) => s.name === name)) continue;
    c.preview.close();
    c.button.remove();
    cards.delete(name);
  }
}

function choose(name) {
  chosen = name;
  at("stage").hidden = false;
  at("stage-name").textContent = name;
  at("share").href = `/play/${encodeURIComponent(name)}`;
  player.play(name);
}

// --- facts about the chosen one ---

function fill(id, rows, empty) {
  const body = at(id).tBodies[0];
  body.replaceChildren(...rows.map((cells) => make("tr", {}, ...cells.map((c) => {
    const td = make("td");
    td.append(c);
    return td;
  }))));
  if (!rows.length) body.append(make("tr", {}, make("td", { colSpan: 5, textContent: empty })));
}

function took(r) {
  if (!r.orchestrator) return "–";
  const speed = r.ratio ? `${(1 / r.ratio).toFixed(1)}× real time` : "";
  return `${r.round_trip_ms} ms · ${speed}`;
}

function facts(stream) {
  fill("renditions", stream.renditions.map((r) => [
    r.name, picture(r), kbps(r.bitrate),
    r.name === "source" ? "the publisher" : host(r.orchestrator) || "nobody yet",
    took(r) + (r.gaps ? ` · ${r.gaps} missing` : "")]), "No segment yet");
  fill("orchestrators", stream.orchestrators.map((o) => {
    const state = make("span", { className: "state", textContent: o.reason ? `${o.state}: ${o.reason}` : o.state });
    state.dataset.state = o.state;
    return [host(o.uri), state, String(o.segments), String(o.failures)];
  }), "None: start the gateway with -orchAddr");
  const recent = stream.troubles.filter((t) => Date.now() - t.at_ms < TROUBLE_MS);
  at("troubles").replaceChildren(...recent.map((t) => make("li", {
    textContent: `${age(Date.now() - t.at_ms)} ago${t.segment >= 0 ? `, segment ${t.segment}` : ""}: ${t.text}` })));
  if (!recent.length) at("troubles").append(make("li", { className: "good", textContent: "Nothing" }));
}

function show(status) {
  const streams = status.streams;
  streams.forEach(card);
  removeGone(streams);
  const live = streams.filter((s) => s.state === "live").length;
  at("summary").textContent = live ? `${live} stream${live > 1 ? "s" : ""} live`
    : "No stream is live. Send one: how is said below.";
  if (!chosen && streams.some((s) => s.renditions.length)) choose(streams.find((s) => s.renditions.length).name);
  const now = streams.find((s) => s.name === chosen);
  if (now) facts(now);
  showAddresses(status);
}

async function refresh() {
  try {
    const answer = await fetch("/api/status", { cache: "no-store" });
    show(await answer.json());
  } catch {
    at("summary").textContent = "The gateway does not answer. Is it running?";
  }
  setTimeout(refresh, EVERY_MS);
}

// --- how to send ---

let rtmp = "", http = "";

function showAddresses(status) {
  const name = location.hostname.includes(":") ? `[${location.hostname}]` : location.hostname;
  const port = (addr) => addr.slice(addr.lastIndexOf(":") + 1);
  rtmp = status.rtmp_addr ? `rtmp://${name}:${port(status.rtmp_addr)}/live` : "";
  http = `http://${name}:${port(status.http_addr)}`;
  writeLines();
}

function writeLines() {
  const stream = encodeURIComponent(at("push-name").value.trim() || "mystream");
  at("obs-server").textContent = rtmp;
  at("obs-key").textContent = stream;
  at("rtmp-url").textContent = `${rtmp}/${stream}`;
  at("ffmpeg-line").textContent =
    `ffmpeg -re -i FILE -c:v libx264 -tune zerolatency -g 60 -c:a aac -f flv ${rtmp}/${stream}`;
  at("curl-line").textContent =
    `curl -T segment.ts -H 'Accept: multipart/mixed' -H 'Content-Duration: 2000' ${http}/live/${stream}/0.ts`;
}

async function copy(button) {
  const text = at(button.dataset.copy).textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(at(button.dataset.copy));
    button.textContent = "Selected";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

at("push-name").addEventListener("input", writeLines);
for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", () => copy(button));
refresh();
