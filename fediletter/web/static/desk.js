// Moves the bars of the delivery view; without it the page reloads itself.
const place = document.querySelector("[data-progress]");
const numbers = new Intl.NumberFormat(document.documentElement.lang);

async function look() {
  const answer = await fetch(place.dataset.progress, { headers: { Accept: "application/json" } });
  if (!answer.ok) return;
  const state = await answer.json();
  for (const section of place.querySelectorAll("[data-channel]")) {
    const counts = state[section.dataset.channel];
    const bar = section.querySelector("progress");
    bar.max = Math.max(counts.total, 1);
    bar.value = counts.done;
    for (const word of section.querySelectorAll("[data-count]")) {
      word.textContent = numbers.format(counts[word.dataset.count]);
    }
  }
  if (state.finished) location.reload();
  else setTimeout(look, 2000);
}

if (place) setTimeout(look, 1000);
