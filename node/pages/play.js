import { Player } from "./player.js";

const name = decodeURIComponent(location.pathname.slice("/play/".length));
const at = (id) => document.getElementById(id);

document.title = `${name} · leat`;
at("stage-name").textContent = name;
new Player(at("video"), at("quality"), at("player-note")).play(name);
