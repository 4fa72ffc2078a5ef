// Plays a page in headless Chromium as a person would and reports, as JSON, what was seen:
//   node watch.mjs '{"url": ..., "steps": [{"watch": 20}, {"quality": 1}, {"shot": "a.png"}]}'
// Frame numbers are read back from the blocks along the top of leat's test picture
// (codec/program/picture_draw.h).
import { createRequire } from "node:module";
const require = createRequire(new URL("../../package.json", import.meta.url));
const { chromium } = require("playwright-core");

const ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--mute-audio",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
  "--autoplay-policy=no-user-gesture-required"];

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

  function onFrame(now, frame) {
    const n = number();
    if (n === null) seen.unread++;
    else seen.frames.push([n, now, frame.mediaTime, video.videoHeight]);
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

async function run(page, step) {
  if (step.watch) await page.waitForTimeout(step.watch * 1000);
  if (step.wait) await page.waitForFunction(step.wait, null, { timeout: 30000 });
  if (step.quality !== undefined) await page.selectOption("#quality", { index: step.quality });
  if (step.click) await page.click(step.click);
  if (step.viewport) await page.setViewportSize(step.viewport);
  if (step.shot) await page.screenshot({ path: step.shot, fullPage: true });
  if (step.eval) return page.evaluate(step.eval);
  // "mark" splits the report: what was seen until here.
  if (step.mark) return page.evaluate(() => {
    const part = window.seen;
    window.seen = Object.assign(part, {});
    const copy = JSON.parse(JSON.stringify(part));
    part.frames.length = part.stalls.length = part.errors.length = part.unread = 0;
    return copy;
  });
  return null;
}

const plan = JSON.parse(process.argv[2]);
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ARGS });
const context = await browser.newContext({ viewport: plan.viewport || { width: 1280, height: 900 },
  permissions: ["clipboard-read", "clipboard-write"] });
const page = await context.newPage();
const complaints = [];
page.on("pageerror", (e) => complaints.push(e.message));
page.on("console", (m) => { if (m.type() === "error") complaints.push(m.text()); });
const answer = await page.goto(plan.url);
const results = [];
if (!plan.bare) {
  await page.waitForFunction(() => document.getElementById("video").readyState >= 3, null, { timeout: 40000 });
  await page.evaluate(install);
}
for (const step of plan.steps || []) {
  const result = await run(page, step);
  if (result !== null && result !== undefined) results.push(result);
}
await browser.close();
console.log(JSON.stringify({ status: answer.status(), results, complaints }));
