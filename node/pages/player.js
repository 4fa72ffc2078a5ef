// The player both pages use: hls.js where the browser needs it, a quality menu, and a
// sentence instead of silence when nothing plays.

const RETRY_MS = 2000;

export class Player {
  constructor(video, quality, note) {
    this.video = video;
    this.quality = quality;
    this.note = note;
    quality.addEventListener("change", () => this.choose(Number(quality.value)));
  }

  play(name) {
    this.stop();
    this.name = name;
    const url = `/stream/${encodeURIComponent(name)}.m3u8`;
    if (window.Hls && Hls.isSupported()) this.playWithHls(url);
    else if (this.video.canPlayType("application/vnd.apple.mpegurl")) this.playNatively(url);
    else this.say("This browser cannot play HLS. Try a current Chrome, Firefox, Edge or Safari.");
  }

  stop() {
    clearTimeout(this.retry);
    if (this.hls) this.hls.destroy();
    this.hls = null;
    this.name = null;
    this.menu([]);
  }

  playWithHls(url) {
    const hls = this.hls = new Hls({ liveSyncDurationCount: 3, backBufferLength: 30 });
    window.leatHls = hls; // for people who look with the browser's tools, and for tests
    hls.on(Hls.Events.MANIFEST_PARSED, () => this.begin());
    hls.on(Hls.Events.LEVELS_UPDATED, () => this.menu(hls.levels));
    hls.on(Hls.Events.LEVEL_SWITCHED, (_, d) => this.showLevel(d.level));
    hls.on(Hls.Events.ERROR, (_, d) => this.onError(d));
    hls.loadSource(url);
    hls.attachMedia(this.video);
  }

  playNatively(url) {
    this.video.src = url;
    this.video.play().catch(() => this.say("Press play to start."));
  }

  begin() {
    this.menu(this.hls.levels);
    this.say("");
    this.video.play().catch(() => this.say("Press play to start."));
  }

  onError(data) {
    if (!data.fatal) return;
    const waiting = data.details === "manifestLoadError";
    this.say(waiting ? "The stream has no picture yet, or has ended. Trying again …"
                     : `Playback was interrupted (${data.details}). Trying again …`);
    const name = this.name;
    this.retry = setTimeout(() => this.play(name), RETRY_MS);
  }

  menu(levels) {
    const rows = levels.map((l, i) => ({ i, text: `${l.height || "?"}p · ${Math.round(l.bitrate / 1000)} kb/s` }));
    rows.sort((a, b) => levels[b.i].bitrate - levels[a.i].bitrate);
    const options = [{ i: -1, text: "Automatic" }, ...rows];
    this.quality.replaceChildren(...options.map((o) => new Option(o.text, o.i)));
    this.quality.value = this.hls && !this.hls.autoLevelEnabled ? this.hls.currentLevel : -1;
    this.quality.disabled = !levels.length;
  }

  showLevel(level) {
    if (!this.hls.autoLevelEnabled) return;
    const l = this.hls.levels[level];
    this.quality.options[0].text = l ? `Automatic (now ${l.height}p)` : "Automatic";
  }

  choose(level) {
    if (this.hls) this.hls.nextLevel = level;
    if (level < 0 && this.hls) this.hls.currentLevel = -1;
  }

  say(text) {
    this.note.textContent = text;
  }
}
