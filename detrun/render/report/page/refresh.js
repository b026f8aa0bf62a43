// News of a page that is refreshed while runs go on: from a server its data alone, from a file the page anew.

function keepFresh() {
  const made = new Date(content.made_at * 1000);
  byId("made").textContent = `${content.live ? "As of" : "Made"} ${made.toLocaleString()}${content.live ? "; looks for news by itself" : ""} · detrun`;
  if (content.live) setTimeout(look, Math.max(1, content.live.every_s) * 1000);
}

async function look() {
  if (!document.hidden) {
    if (location.protocol === "file:") {
      if (!busy()) location.reload();
    } else {
      await fetchNews();
    }
  }
  keepFresh();
}

async function fetchNews() {
  try {
    const answer = await fetch("data.json", {cache: "no-cache"});
    const news = answer.ok ? await answer.json() : content;
    if (news.made_at === content.made_at) return;
    content = news;
    showAll();
  } catch {
    // The server will answer another time.
  }
}

// Whether a reload would take something out of the reader's hands.
function busy() {
  return document.activeElement?.matches("input[type=search], input[type=range], select") || byId("columns").open || !getSelection().isCollapsed;
}
