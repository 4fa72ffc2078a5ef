// The player both pages use: hls.js where the browser needs it, a quality menu, and a
// sentence instead of silence when nothing plays. Finds its parts in the page by their ids.

const RETRY_MIN_MS = 1000, RETRY_MAX_MS = 10_000;
const STUCK_MS = 3000;                     // a wait so long is told
const LOOK_MIN_MS = 2000, LOOK_MAX_MS = 30_000;
const FIRST_SEGMENTS = 2;                  // in hand before it plays
const RECOVER_MS = 5000;                   // a second broken picture within this: start anew

const at = (id) => document.getElementById(id);

export const kbps = (bps) => bps >= 1e6 ? `${(bps / 1e6).toFixed(1)} Mb/s` : `${Math.round(bps / 1000)} kb/s`;

// "P576p30fps16x9" is for programs; a person reads "576p". Other names stay as they are.
export const shortName = (profile) => profile.replace(/^P(\d+p)(?:30|25)?(\d*)fps\d+x\d+$/, "$1$2");

// The name is the last part of the address of the quality's playlist.
const levelName = (level) => decodeURIComponent(new URL(level.url[0], location).pathname.split("/").pop()
  .replace(/\.m3u8$/, ""));

const saying = {
  missing: "No stream of this name is live. It begins here by itself as soon as it is.",
  early: "The stream is starting: its first pictures are on their way.",
  away: "The gateway does not answer. Trying again …",
  waiting: "Waiting for the stream to go on …",
  ended: "The stream has ended.",
  press: "Press play to start.",
  unable: "This browser cannot play HLS. Try a current Chrome, Firefox, Edge or Safari.",
};

function explain(error) {
  const list = error.type === Hls.ErrorTypes.NETWORK_ERROR && !error.details.startsWith("frag");
  const said = list && { 404: saying.missing, 503: saying.early, 0: saying.away }[error.response?.code ?? 0];
  return said || `Playback was interrupted (${error.details}). Trying again …`;
}

export class Player {
  constructor() {
    this.video = at("video");
    this.quality = at("quality");
    this.failures = 0;
    this.base = "";                        // another origin when the page came by the admin port
    this.quality.addEventListener("change", () => this.choose(Number(this.quality.value)));
    at("again").addEventListener("click", () => this.play(this.name));
    this.video.addEventListener("ended", () => this.end());
    this.video.addEventListener("waiting", () => this.wait());
    this.video.addEventListener("playing", () => this.goOn());
  }

  play(name) {
    this.stop();
    if (name !== this.name) this.failures = 0;
    this.name = name;
    this.url = `${this.base}/stream/${encodeURIComponent(name)}.m3u8`;
    if (window.Hls && Hls.isSupported()) this.playWithHls();
    else if (this.video.canPlayType("application/vnd.apple.mpegurl")) this.playNatively();
    else this.say(saying.unable);
  }

  stop() {
    for (const timer of [this.retry, this.stuck, this.look]) clearTimeout(timer);
    if (this.hls) this.hls.destroy();
    this.hls = null;
    this.ended = false;
    at("again").hidden = true;
  }

  playWithHls() {
    const hls = this.hls = new Hls({ liveSyncDurationCount: 3, backBufferLength: 30 });
    window.leatHls = hls; // for people who look with the browser's tools, and for tests
    hls.on(Hls.Events.MANIFEST_LOADED, (_, d) => this.lookForMore(d.levels.length, LOOK_MIN_MS));
    hls.on(Hls.Events.MANIFEST_PARSED, () => this.found());
    hls.on(Hls.Events.LEVEL_LOADED, (_, d) => this.begin(d.details));
    hls.on(Hls.Events.LEVELS_UPDATED, () => this.menu());
    hls.on(Hls.Events.LEVEL_SWITCHED, () => this.menu());
    hls.on(Hls.Events.ERROR, (_, d) => this.onError(d));
    hls.loadSource(this.url);
    hls.attachMedia(this.video);
  }

  playNatively() {
    this.quality.parentElement.hidden = true; // this browser chooses by itself
    this.video.src = this.url;
    this.start();
  }

  found() {
    this.failures = 0;
    this.begun = false;
    this.menu();
    this.say(saying.early);
  }

  // With one segment in hand the picture would stop before the second is there.
  begin(details) {
    if (this.begun || details.live && details.fragments.length < FIRST_SEGMENTS) return;
    this.begun = true;
    this.say("");
    this.start();
  }

  start() {
    this.video.play().catch((e) => { if (e.name === "NotAllowedError") this.say(saying.press); });
  }

  // A quality is listed with its first segment, and hls.js reads the list only once: a viewer
  // who was here before the others came starts anew when they have.
  lookForMore(known, ms) {
    const hls = this.hls;
    this.look = setTimeout(async () => {
      const answer = await fetch(this.url).catch(() => null);
      const now = answer && answer.ok ? (await answer.text()).split("#EXT-X-STREAM-INF").length - 1 : 0;
      if (this.hls !== hls || this.ended) return;
      if (now > known) this.play(this.name);
      else this.lookForMore(known, Math.min(ms * 1.5, LOOK_MAX_MS));
    }, ms);
  }

  onError(data) {
    if (!data.fatal) return;
    const now = performance.now();
    if (data.type === Hls.ErrorTypes.MEDIA_ERROR && !(now - this.recovered < RECOVER_MS)) {
      this.recovered = now;
      this.hls.recoverMediaError();
      return;
    }
    this.say(explain(data));
    clearTimeout(this.look);
    clearTimeout(this.stuck);
    clearTimeout(this.retry);
    this.retry = setTimeout(() => this.play(this.name), Math.min(RETRY_MIN_MS * 2 ** this.failures, RETRY_MAX_MS));
    this.failures++;
  }

  end() {
    if (this.hls) this.hls.stopLoad();
    clearTimeout(this.look);
    clearTimeout(this.stuck);
    this.ended = true;
    this.say(saying.ended);
    at("again").hidden = false;
  }

  wait() {
    clearTimeout(this.stuck);
    this.stuck = setTimeout(() => { if (!this.ended) this.say(saying.waiting); }, STUCK_MS);
  }

  goOn() {
    clearTimeout(this.stuck);
    this.say("");
  }

  // The options are made anew only when they differ: a menu that is open stays open.
  menu() {
    const levels = this.hls.levels;
    const rows = levels.map((l, i) => ({ i, bitrate: l.bitrate, text: this.describe(l) }))
      .sort((a, b) => b.bitrate - a.bitrate);
    const known = rows.map((r) => r.i + r.text).join();
    if (known !== this.known) {
      this.known = known;
      this.quality.replaceChildren(new Option("Automatic", -1), ...rows.map((r) => new Option(r.text, r.i)));
    }
    const now = this.hls.autoLevelEnabled && levels[this.hls.currentLevel];
    const automatic = now ? `Automatic (now ${shortName(levelName(now))})` : "Automatic";
    if (this.quality.options[0].text !== automatic) this.quality.options[0].text = automatic;
    this.quality.value = this.hls.autoLevelEnabled ? -1 : this.hls.loadLevel;
  }

  describe(level) {
    const name = levelName(level);
    return `${name === "source" && level.height ? `Source, ${level.height}p` : shortName(name)} · ${kbps(level.bitrate)}`;
  }

  // The name of what is on the screen: "source", "P360p30fps16x9", or nothing.
  playing() {
    const level = this.hls && !this.ended && this.hls.levels[this.hls.currentLevel];
    return level ? levelName(level) : "";
  }

  choose(level) {
    if (!this.hls) return;
    if (level < 0) this.hls.loadLevel = -1; // what is loaded may be played
    else this.hls.nextLevel = level;
    this.menu();
  }

  say(text) {
    const note = at("player-note");
    if (note.textContent !== text) note.textContent = text;
  }
}
