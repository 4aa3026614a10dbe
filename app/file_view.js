// The file behind a citation: its lines marked, and all others a scroll away. Takes the place of
// the evidence until it is closed. Lines come from /page/file, a window at a time.
(() => {
  const STEP = 150; // lines asked for at once
  const NEAR_PX = 600; // from an end of what is there, the next lines are asked for
  let view = null; // what is shown: its elements, the file, the lines that are there, the opener

  const make = (tag, properties = {}, ...children) => {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
  };

  const ask = async (route, file, start, end) => {
    const query = new URLSearchParams({ ...file, start, end });
    const answer = await fetch(new URL(`page/${route}?${query}`, location.href));
    const body = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(body.detail || `the server answered ${answer.status}`);
    return body;
  };

  const lineNode = (html, number) => {
    const marks = [];
    if (view.cited.has(number)) marks.push("cited");
    if (view.doubted.has(number)) marks.push("doubted");
    const pick = make("a", { className: "pick", href: "#viewer", textContent: number });
    pick.dataset.line = number;
    pick.setAttribute("aria-label", `Line ${number}: choose it for the link`);
    pick.tabIndex = -1;
    const text = make("span", { className: "text", innerHTML: html }); // safe: made by Pygments
    return make("span", { className: ["line", ...marks].join(" "), id: `file-L${number}` }, pick, text, "\n");
  };

  const add = (answer) => {
    const nodes = answer.lines.map((html, place) => lineNode(html, answer.start + place));
    view.total = answer.total;
    if (!view.last) [view.first, view.last] = [answer.start, answer.start - 1];
    if (answer.start > view.last) {
      view.code.append(...nodes);
      view.last = answer.end;
    } else {
      const height = view.scroller.scrollHeight;
      view.code.prepend(...nodes);
      view.first = answer.start;
      view.scroller.scrollTop += view.scroller.scrollHeight - height; // what was read stays put
    }
    view.scroller.classList.toggle("prose", answer.prose);
    say(`Lines ${view.first}–${view.last} of ${view.total}`);
    choose();
  };

  const say = (text, kind = "") => {
    view.status.textContent = text;
    view.status.className = `status ${kind}`;
  };

  const extend = async () => {
    if (!view || view.busy || !view.last) return;
    const { scrollTop, scrollHeight, clientHeight } = view.scroller;
    const up = scrollTop < NEAR_PX && view.first > 1;
    const down = scrollHeight - scrollTop - clientHeight < NEAR_PX && view.last < view.total;
    if (!up && !down) return;
    const shown = view;
    shown.busy = true;
    try {
      const [start, end] = down
        ? [view.last + 1, view.last + STEP]
        : [Math.max(1, view.first - STEP), view.first - 1];
      const answer = await ask("file", shown.file, start, end);
      if (view === shown) add(answer);
    } catch (error) {
      if (view === shown) say(String(error.message || error), "problem");
    } finally {
      shown.busy = false;
    }
    if (view === shown && !view.status.classList.contains("problem")) extend();
  };

  const choose = () => {
    const [start, end] = view.chosen;
    for (const line of view.code.children) {
      const number = Number(line.firstChild.dataset.line);
      line.classList.toggle("chosen", number >= start && number <= end);
    }
    const lines = start === end ? `L${start}` : `L${start}–L${end}`;
    view.copy.textContent = `Copy link to ${lines}`;
  };

  const copy = async () => {
    const shown = view;
    try {
      const { url, label } = await ask("link", shown.file, ...shown.chosen);
      const text = url || `${shown.file.repo}@${shown.file.commit.slice(0, 7)} ${label}`;
      await navigator.clipboard.writeText(text);
      say(url ? "The link is copied" : "There is no link to this repository: its place is copied");
    } catch (error) {
      say(`Not copied: ${error.message || error}`, "problem");
    }
  };

  // What the card holds is shown if the index has moved on.
  const showCard = (card, problem) => {
    const lines = [...card.querySelectorAll(".source .line")];
    add({
      lines: lines.map((line) => line.innerHTML.replace(/\n$/, "")),
      start: Number(card.dataset.start),
      end: Number(card.dataset.end),
      total: Number(card.dataset.end),
      prose: Boolean(card.querySelector(".source.prose")),
    });
    view.first = 1; // nothing above or below can be had
    say(`${problem}. These are the lines that the answer rests on.`, "problem");
  };

  const open = async (card, line, opener) => {
    const side = document.getElementById("side");
    close(false);
    const numbers = (kind) =>
      new Set([...card.querySelectorAll(`.line.${kind}`)].map((node) => Number(node.dataset.line)));
    const { repo, path, commit, start, end, url } = card.dataset;
    const back = make("button", { className: "close", type: "button", textContent: "← Evidence" });
    const copyButton = make("button", { className: "copy", type: "button" });
    const status = make("p", { className: "status" });
    status.setAttribute("role", "status");
    const code = make("code");
    const scroller = make("pre", { className: "source", tabIndex: 0 }, code);
    scroller.setAttribute("aria-label", `${path}, from line ${line}`);
    const folder = path.slice(0, path.lastIndexOf("/") + 1);
    const title = make("h2", {}, folder, make("strong", { textContent: path.slice(folder.length) }));
    const links = make("div", { className: "actions" }, copyButton);
    if (url) {
      const host = make("a", { href: url, target: "_blank", rel: "noopener noreferrer", textContent: "Open on its host" });
      links.append(host);
    }
    const root = make("section", { id: "viewer" }, make("header", {}, back, title, links), status, scroller);
    root.setAttribute("aria-label", `File ${path} at commit ${commit.slice(0, 7)}`);
    const cited = numbers("cited");
    let last = line;
    while (cited.has(line) && cited.has(last + 1)) last += 1;
    view = { root, scroller, code, status, copy: copyButton, opener, card: card.id };
    Object.assign(view, { file: { repo, path, commit }, cited, doubted: numbers("doubted") });
    Object.assign(view, { chosen: cited.has(line) ? [line, last] : [Number(start), Number(end)] });
    back.addEventListener("click", () => close(true));
    copyButton.addEventListener("click", copy);
    scroller.addEventListener("scroll", extend, { passive: true });
    side.append(root);
    side.classList.add("viewing");
    choose();
    const shown = view;
    try {
      const answer = await ask("file", view.file, Math.max(1, line - STEP), line + STEP);
      if (view !== shown) return;
      add(answer);
    } catch (error) {
      if (view !== shown) return;
      showCard(card, String(error.message || error));
    }
    document.getElementById(`file-L${line}`)?.scrollIntoView({ block: "center" });
    scroller.focus({ preventScroll: true });
    extend();
  };

  const close = (giveFocusBack) => {
    if (!view) return;
    const { root, opener, card } = view;
    view = null;
    root.remove();
    document.getElementById("side")?.classList.remove("viewing");
    if (!giveFocusBack) return;
    const place = opener.isConnected ? opener : document.querySelector(`#${card} summary`);
    place?.focus();
  };

  // Before the page's own handler of links, which leads to the card.
  document.addEventListener(
    "click",
    (event) => {
      const pick = event.target.closest("#viewer .pick");
      if (pick && view) {
        event.preventDefault();
        event.stopPropagation();
        const line = Number(pick.dataset.line);
        const from = event.shiftKey ? view.chosen[0] : line;
        view.chosen = [Math.min(from, line), Math.max(from, line)];
        choose();
        return;
      }
      const opener = event.target.closest('a.citation[href^="#"], .open-file');
      if (!opener || event.ctrlKey || event.metaKey || event.shiftKey) return;
      const [, id, line] = (opener.hash || opener.dataset.place || "").match(/^#(a\d+p\d+)(?:L(\d+))?$/) || [];
      const card = id && document.getElementById(id);
      if (!card?.dataset.path) return;
      event.preventDefault();
      event.stopPropagation();
      open(card, Number(line || card.dataset.start), opener);
    },
    true,
  );

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && view && !event.defaultPrevented) close(true);
  });

  // Another question has other evidence: a file opened for the last one would be in its way.
  const watch = new MutationObserver(() => {
    const card = view && document.getElementById(view.card);
    if (view && card?.dataset.path !== view.file.path) close(false);
  });
  watch.observe(document.body, { childList: true, subtree: true });
})();
