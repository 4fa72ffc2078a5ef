// Plays a page in headless Chromium as a person would and reports, as JSON, what was seen:
//   node watch.mjs '{"url": ..., "steps": [{"watch": 20}, {"quality": 1}, {"shot": "a.png"}]}'
// Says "playing" on standard error when the first picture is there. Frame numbers are read back
// from the blocks along the top of leat's test picture (codec/program/picture_draw.h).
import { createRequire } from "node:module";
const require = createRequire(new URL("../../package.json", import.meta.url));
const { chromium } = require("playwright-core");

const PATIENCE_MS = 60_000; // the machine may be busy
const ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--mute-audio",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
  "--autoplay-policy=no-user-gesture-required"];
const DESKTOP = { viewport: { width: 1280, height: 900 } };
const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 };

// Runs in the page: reads each shown frame's number, and what the player suffers.
function install() {
  const video = document.getElementById("video");
  const canvas = document.createElement("canvas");
  canvas.width = 400;
  canvas.height = 10;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const seen = window.seen = { frames: [], stalls: [], errors: [], unread: 0 };

  function number() {
    // The strip of blocks is as high as one block is wide: a fortieth of the width.
    context.drawImage(video, 0, 0, video.videoWidth, video.videoWidth / 40, 0, 0, 400, 10);
    const pixels = context.getImageData(0, 5, 400, 1).data;
    const bit = (i) => pixels[4 * (10 * i + 5) + 1] > 127 ? 1 : 0;
    const byte = (from) => Array.from({ length: 8 }, (_, i) => bit(from + i)).reduce((a, b) => a << 1 | b, 0);
    const bytes = [1, 2, 3].map((n) => byte(8 * n));
    if (byte(0) !== 0xb2 || byte(32) !== (bytes[0] ^ bytes[1] ^ bytes[2])) return null;
    return bytes[0] << 16 | bytes[1] << 8 | bytes[2];
  }

  // Seconds of stream after this one that the browser has already.
  function inHand(time) {
    const ends = Array.from({ length: video.buffered.length }, (_, i) => video.buffered.end(i));
    return Math.max(0, ends.find((end) => end > time) - time || 0);
  }

  function onFrame(now, frame) {
    const n = number();
    if (n === null) seen.unread++;
    else seen.frames.push([n, now, frame.mediaTime, video.videoHeight, inHand(frame.mediaTime)]);
    video.requestVideoFrameCallback(onFrame);
  }

  video.requestVideoFrameCallback(onFrame);
  video.addEventListener("waiting", () => seen.stalls.push(performance.now()));
  const hook = setInterval(() => {
    if (!window.leatHls) return;
    clearInterval(hook);
    window.leatHls.on("hlsError", (_, d) => seen.errors.push({ details: d.details, fatal: d.fatal, at: performance.now() }));
  }, 50);
}

// What was seen until here; the next part begins.
function cut() {
  const part = JSON.parse(JSON.stringify(window.seen));
  for (const list of ["frames", "stalls", "errors"]) window.seen[list].length = 0;
  window.seen.unread = 0;
  return part;
}

// Not page.waitForFunction(): it evaluates inside the page, whose policy forbids that.
async function until(page, what) {
  const end = Date.now() + PATIENCE_MS;
  while (!await page.evaluate(what)) {
    if (Date.now() > end) throw new Error(`waited in vain for ${what}; the page shows: ${await page.innerText("body")}`);
    await page.waitForTimeout(50);
  }
}

const does = {
  watch: (page, seconds) => page.waitForTimeout(seconds * 1000),
  wait: until,
  quality: async (page, index) => { await page.selectOption("#quality", { index }); },
  click: (page, what) => page.click(what, { timeout: PATIENCE_MS }),
  go: async (page, url) => { await page.goto(url); },
  shot: async (page, path) => { await page.screenshot({ path, fullPage: true }); },
  eval: (page, what) => page.evaluate(what),
  mark: (page) => page.evaluate(cut),
};

const plan = JSON.parse(process.argv[2]);
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ARGS, timeout: PATIENCE_MS });
const context = await browser.newContext({ ...(plan.phone ? PHONE : DESKTOP),
  permissions: ["clipboard-read", "clipboard-write"] });
const page = await context.newPage();
const complaints = [], strangers = [], results = [];
page.on("pageerror", (e) => complaints.push(e.message));
page.on("console", (m) => { if (m.type() === "error") complaints.push(m.text()); });
page.on("request", (r) => { if (!/^(http:\/\/127\.|blob:|data:)/.test(r.url())) strangers.push(r.url()); });
await page.goto(plan.url, { timeout: PATIENCE_MS });
await until(page, "document.getElementById('video').currentTime > 0");
await page.evaluate(install);
console.error("playing");
for (const step of plan.steps) {
  for (const [verb, object] of Object.entries(step)) {
    const result = await does[verb](page, object);
    if (result !== null && result !== undefined) results.push(result);
  }
}
await browser.close();
console.log(JSON.stringify({ results, complaints, strangers }));
