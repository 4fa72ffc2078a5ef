// All an application needs to show a live stream: where the gateway is, the stream's name, hls.js.
const { gateway, name } = await (await fetch("config.json")).json();
const stream = `${gateway}/stream/${encodeURIComponent(name)}.m3u8`;
const video = document.getElementById("video");
const note = document.getElementById("note");

function loadPlayer() {
  const script = document.createElement("script");
  script.src = `${gateway}/assets/hls.js`;
  document.head.append(script);
  return new Promise((resolve, reject) => {
    script.onload = resolve;
    script.onerror = () => reject(new Error(`no gateway answers at ${gateway}`));
  });
}

function play() {
  const hls = new Hls();
  hls.on(Hls.Events.MANIFEST_PARSED, (_, found) => {
    note.textContent = `On air. Qualities: ${found.levels.length}.`;
    video.play().catch(() => { note.textContent = "Press play."; });
  });
  hls.on(Hls.Events.ERROR, (_, error) => {
    if (!error.fatal) return;
    hls.destroy();
    note.textContent = "Not on air yet. It begins here by itself.";
    setTimeout(play, 3000);
  });
  video.onended = () => { hls.destroy(); note.textContent = "The broadcast is over."; };
  hls.loadSource(stream);
  hls.attachMedia(video);
}

loadPlayer().then(play, (error) => { note.textContent = error.message; });
