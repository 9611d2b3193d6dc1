// The foot of the page: what is served, and how a program asks it.

const find = (id) => document.getElementById(id);
const here = new URL(".", location.href).href;
find("curl").textContent = [
  `curl -F image=@photo.jpg ${here}predict/image`,
  `curl -F image=@photo.jpg ${here}predict/feature_embedding`,
  `curl -F image=@photo.jpg "${here}predict/similar_images?limit=10&max_price=50"`,
  `curl "${here}search?q=oak+table&near=Leeds&radius_km=25&explain=true"`,
  `curl -F image=@photo.jpg "${here}search?q=but+in+red"`,
].join("\n");
fetch("healthcheck").then((answer) => answer.json())
  .then((health) => { find("release").textContent = health.release; })
  .catch(() => { find("release").textContent = "not known: no answer from the server"; });
