// Footer: version of the release, and API examples.

import { find } from "./dom.js";
import { text } from "./text.js";

const root = new URL(".", location.href).href;
find("curl").textContent = [
  `curl -F image=@photo.jpg ${root}predict/image`,
  `curl -F image=@photo.jpg ${root}predict/feature_embedding`,
  `curl -F image=@photo.jpg "${root}predict/similar_images?limit=10&max_price=50"`,
  `curl "${root}search?q=oak+table&near=Leeds&radius_km=25&explain=true"`,
  `curl -F image=@photo.jpg "${root}search?q=but+in+red"`,
].join("\n");
fetch("healthcheck").then((response) => response.json())
  .then((health) => { find("release").textContent = health.release; })
  .catch(() => { find("release").textContent = text("release_unknown"); });
