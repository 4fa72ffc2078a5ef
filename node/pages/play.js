import { Player } from "./player.js";

const name = decodeURIComponent(location.pathname.slice("/play/".length));

document.title = `${name} · leat`;
document.getElementById("stage-name").textContent = name;
new Player().play(name);
