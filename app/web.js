// The page's script: it asks the routes of app/page_routes.py, puts their HTML in its places, and
// says what was clicked. All HTML is made, and escaped, by the server. Long because its parts share
// what is shown: around the conversation, the conversation, the list of them, and judging.
(() => {
  const BUSY_MS = 1000; // how often the state of the index is asked for while it is being made
  const IDLE_MS = 15000; // … and else
  const DRAWER = "(max-width: 899px)"; // where the list of conversations lies over the page
  const ROOMY = "(min-width: 1200px)"; // where it is open unless it was closed

  const base = location.pathname.replace(/[^/]*$/, "");
  const state = {
    key: "", // of what the index holds, as shown
    costs: {}, // of each mode: [without a model, with one][first question, follow-up]
    names: {}, // of the conversations, by id
    conversation: null, // the one that is shown
    running: [], // ids of its exchanges that are being answered
    sending: false, // whether a question is on its way to the server
    instead: null, // the exchange that the next question replaces
    following: null, // what ends the stream that is read
    listing: 0, // how often the list of conversations was asked for
    timer: 0, // of the next look at the index
  };

  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const say = (text) => (one("#live").textContent = text);
  const complain = (text) => {
    const place = one("#complaint");
    place.textContent = text || "";
    place.hidden = !text;
  };

  // Asking the server.

  const route = (path) => `${base}page/${path}`;

  const read = async (answer) => {
    if (answer.status === 401) location.reload(); // the login has ended: the page asks for the token
    const body = await answer.json().catch(() => ({}));
    if (answer.ok) return body;
    const detail = typeof body.detail === "string" ? body.detail : body.error?.message;
    throw Object.assign(new Error(detail || `the server answered ${answer.status}`), {
      status: answer.status,
    });
  };

  const get = async (path) => read(await fetch(route(path), { cache: "no-store" }));

  const post = async (path, body) =>
    read(
      await fetch(route(path), {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(body),
      }),
    );

  // What is around the conversation: header, banner, welcome, choices.

  const refresh = async () => {
    let news;
    try {
      news = await get(`start?key=${encodeURIComponent(state.key)}`);
    } catch {
      showLost();
      refreshIn(BUSY_MS);
      return;
    }
    put("#banner", news.banner);
    if (news.header !== undefined) {
      put("#header", news.header);
      keepingChoices(() => put("#choices", news.choices));
      state.costs = news.costs;
      const input = one("#ask");
      const opened = !state.key && news.ready && !matchMedia(DRAWER).matches;
      input.disabled = !news.ready;
      if (opened || (news.ready && document.activeElement === document.body)) input.focus();
      put("#welcome", news.welcome);
      state.key = news.key;
      showList(listIsWanted());
      showChoices();
    }
    refreshIn(news.building ? BUSY_MS : IDLE_MS);
  };

  const refreshIn = (wait) => {
    clearTimeout(state.timer);
    state.timer = setTimeout(refresh, wait);
  };

  const put = (selector, html) => {
    const place = one(selector);
    if (place.written !== html) place.innerHTML = place.written = html;
  };

  const showLost = () =>
    put(
      "#banner",
      '<div class="banner problem" role="alert"><span><strong>The server does not answer.</strong>' +
        " The page goes on as soon as it does; nothing that was asked is lost.</span></div>",
    );

  const keepingChoices = (change) => {
    const form = one("#question");
    const before = new FormData(form);
    const known = form.elements.strategy !== undefined;
    change();
    for (const field of all("#choices input, #choices select")) {
      if (!known) break;
      if (field.type === "checkbox" || field.type === "radio") {
        field.checked = before.getAll(field.name).includes(field.value);
      } else if (before.has(field.name)) field.value = before.get(field.name);
    }
  };

  // What is chosen.

  const chosen = () => {
    const form = new FormData(one("#question"));
    const compare = form.has("compare");
    const models = [form.get("model") ?? ""];
    if (compare) models.push(form.get("other"));
    return {
      strategy: compare ? "direct" : (form.get("strategy") ?? "direct"),
      models,
      blind: compare && form.has("blind"),
      repos: form.getAll("repos"),
      languages: form.getAll("languages"),
      path_glob: form.get("path_glob") ?? "",
    };
  };

  const showChoices = () => {
    const fields = one("#question").elements;
    if (!fields.strategy) return;
    const compare = Boolean(fields.compare?.checked);
    for (const radio of fields.strategy) radio.disabled = compare && radio.value !== "direct";
    if (compare) fields.strategy.value = "direct";
    const comparison = one(".comparison");
    if (comparison) comparison.hidden = !compare;
    const { strategy, models, repos, languages, path_glob } = chosen();
    const only = [...repos, ...languages, path_glob.trim()].filter(Boolean).join(", ");
    one("#filters summary").textContent = only ? `Filters: only ${only}` : "Filters";
    const followUp = one("#exchanges").children.length ? 1 : 0;
    const cost = state.costs[compare ? "compare" : strategy];
    one("#cost").textContent = cost?.[models.some(Boolean) ? 1 : 0][followUp] ?? "";
  };

  const showRunning = () => {
    const busy = state.sending || state.running.length > 0;
    one("#question .submit-button").hidden = busy;
    one("#question .stop-button").hidden = !busy;
  };

  // The conversation.

  const isAtEnd = () => {
    const box = one("#messages");
    return box.scrollHeight - box.scrollTop - box.clientHeight < 90;
  };
  const scrollToEnd = () => {
    const box = one("#messages");
    box.scrollTop = box.scrollHeight;
  };

  const replacePart = (part, html) => {
    const focusable = "button, input, a, summary";
    const place = all(focusable, part).indexOf(document.activeElement);
    part.innerHTML = html;
    if (place >= 0) all(focusable, part)[place]?.focus();
  };

  const applyParts = (exchange, parts) => {
    for (const [name, html] of Object.entries(parts)) {
      const part = one(`[data-part="${name}"]`, exchange);
      if (part) replacePart(part, html);
    }
  };

  const applyTexts = (exchange, texts) => {
    for (const [draft, [from, blocks]] of Object.entries(texts)) {
      const part = one(`[data-part="text${draft}"]`, exchange);
      while (part.children.length > from) part.lastElementChild.remove();
      part.insertAdjacentHTML("beforeend", blocks.join(""));
    }
  };

  const mark = (number, cited) => {
    for (const [passage, start, end] of cited) {
      const card = document.getElementById(`a${number}p${passage}`);
      if (!card) continue;
      card.classList.add("cited");
      if (!card.marked && !card.touched) card.open = card.marked = true;
      for (let line = start; line <= end; line += 1) {
        document.getElementById(`a${number}p${passage}L${line}`)?.classList.add("cited");
      }
    }
  };

  const showEvidence = (html) => {
    const touched = all("#evidence details").filter((card) => card.touched && card.id);
    one("#evidence").innerHTML = html;
    for (const { id, open, dataset } of touched) {
      const card = document.getElementById(id);
      if (card?.dataset.path !== dataset.path) continue;
      card.open = open; // what was unfolded by hand stays so
      card.touched = true;
    }
  };

  const apply = (patch) => {
    const list = one("#exchanges");
    const follows = isAtEnd();
    if (patch.exchanges) {
      while (list.children.length > patch.keep) list.lastElementChild.remove();
      list.insertAdjacentHTML("beforeend", patch.exchanges.join(""));
      one("#welcome").hidden = list.children.length > 0;
    }
    if (patch.evidence !== undefined) showEvidence(patch.evidence);
    if (patch.last) {
      const exchange = list.lastElementChild;
      applyParts(exchange, patch.last.parts ?? {});
      applyTexts(exchange, patch.last.texts ?? {});
      mark(list.children.length, patch.last.cited ?? []);
    }
    if (patch.say) say(patch.say);
    if (patch.running) {
      Object.assign(state, { running: patch.running, sending: false });
      showRunning();
    }
    if (patch.exchanges) showChoices();
    if (follows) scrollToEnd();
  };

  const lastShown = () => {
    const ids = all("#exchanges > [data-exchange]").map((node) => node.dataset.exchange);
    return ids.filter((id) => !state.running.includes(id)).pop() ?? "";
  };

  const readLines = async (answer, take) => {
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) take(JSON.parse(line));
    }
  };

  // Read what comes of a conversation until nothing of it runs, and over a lost connection.
  const follow = async (conversation) => {
    state.following?.abort();
    const { signal } = (state.following = new AbortController());
    for (;;) {
      try {
        const path = `follow/${encodeURIComponent(conversation)}?shown=${lastShown()}`;
        const answer = await fetch(route(path), { signal, cache: "no-store" });
        if (!answer.ok) await read(answer);
        await readLines(answer, (patch) => signal.aborted || apply(patch));
        if (signal.aborted || !state.running.length) break;
      } catch (error) {
        if (signal.aborted) return;
        if (error.status) {
          begin(true);
          complain(error.message);
          return;
        }
        showLost();
      }
      await new Promise((done) => setTimeout(done, BUSY_MS));
      if (signal.aborted) return;
      refresh();
    }
    if (!signal.aborted) loadList();
  };

  const showAddress = (conversation, isNew) => {
    const address = new URL(location.href);
    address.hash = "";
    if (conversation) address.searchParams.set("conversation", conversation);
    else address.searchParams.delete("conversation");
    history[isNew ? "pushState" : "replaceState"](null, "", address);
  };

  const open = (conversation, isNew = true) => {
    begin(false);
    state.conversation = conversation;
    showAddress(conversation, isNew);
    one("#welcome").hidden = true;
    showCurrent();
    follow(conversation).then(scrollToEnd);
  };

  const begin = (isNew) => {
    state.following?.abort();
    Object.assign(state, { conversation: null, running: [], sending: false });
    leaveEditing();
    complain("");
    one("#exchanges").replaceChildren();
    one("#welcome").hidden = false;
    showEvidence(NO_EVIDENCE);
    showRunning();
    showChoices();
    showCurrent();
    if (isNew) showAddress(null, true);
  };

  const NO_EVIDENCE =
    '<section class="nothing"><h2>Evidence</h2>' +
    "<p>The passages that an answer rests on appear here, with their lines.</p></section>";

  const pending = (text) => {
    one("#exchanges").insertAdjacentHTML(
      "beforeend",
      '<article class="exchange"><div class="user"><div class="asked"></div></div><div class="drafts">' +
        '<section class="message bot"><div class="md"><p class="waiting">Searching the code…</p>' +
        "</div></section></div></article>",
    );
    const exchange = one("#exchanges").lastElementChild;
    one(".asked", exchange).innerText = text;
    one("#welcome").hidden = true;
    scrollToEnd();
    return exchange;
  };

  const ask = async (text) => {
    const input = one("#ask");
    if (!text.trim() || input.disabled || state.sending || state.running.length) return;
    const choices = chosen();
    if (choices.models.length === 2 && choices.models[0] === choices.models[1]) {
      complain("Choose two different models to compare.");
      return;
    }
    complain("");
    state.sending = true;
    showRunning();
    const question = { ...choices, text: text.trim(), conversation: state.conversation };
    question.instead_of = state.instead;
    const shown = state.instead ? null : pending(text.trim());
    input.value = "";
    fit(input);
    one("#side").scrollTop = 0;
    try {
      const { conversation } = await post("ask", question);
      leaveEditing();
      showAddress(conversation, conversation !== state.conversation);
      state.conversation = conversation;
      loadList();
      await follow(conversation);
    } catch (error) {
      shown?.remove();
      one("#welcome").hidden = one("#exchanges").children.length > 0;
      input.value = input.value || text;
      complain(error.status ? error.message : "The server does not answer: try again.");
    } finally {
      state.sending = false;
      showRunning();
    }
  };

  const fit = (input) => {
    input.style.height = "auto";
    input.style.height = `${input.scrollHeight}px`;
  };

  const edit = (exchange) => {
    state.instead = exchange.dataset.exchange;
    all(".exchange.edited").forEach((node) => node.classList.remove("edited"));
    exchange.classList.add("edited");
    one("#editing").hidden = false;
    const input = one("#ask");
    input.value = one(".asked", exchange).innerText;
    fit(input);
    input.focus();
  };

  const leaveEditing = () => {
    state.instead = null;
    one("#editing").hidden = true;
    all(".exchange.edited").forEach((node) => node.classList.remove("edited"));
  };

  // The kept conversations.

  const loadList = async () => {
    const ticket = (state.listing += 1);
    try {
      const query = one("#search").value.trim();
      const { html, names } = await get(`conversations?query=${encodeURIComponent(query)}`);
      if (ticket !== state.listing) return; // a later question was answered, or will be
      put("#kept", html);
      Object.assign(state.names, names);
      showCurrent();
    } catch {
      // The banner says it if the server is gone; else the list stays as it was.
    }
  };

  const showCurrent = () => {
    const name = state.names[state.conversation];
    one("#title").hidden = !state.conversation;
    one("#title h2").textContent = name ?? "";
    document.title = name ? `${name} · codeqa` : "codeqa";
    for (const link of all("#kept [data-conversation]")) {
      const isCurrent = link.dataset.conversation === state.conversation;
      if (isCurrent) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  };

  const listIsWanted = () =>
    !matchMedia(DRAWER).matches &&
    (localStorage.getItem("codeqa:list") ?? (matchMedia(ROOMY).matches ? "open" : "")) === "open";

  const showList = (isOpen) => {
    one("#conversations").hidden = !isOpen;
    one("#unfold")?.setAttribute("aria-expanded", String(isOpen));
  };

  const fold = (isOpen) => {
    showList(isOpen);
    if (!matchMedia(DRAWER).matches) localStorage.setItem("codeqa:list", isOpen ? "open" : "closed");
    one(isOpen ? "#search" : "#unfold").focus();
  };

  // Ask back; gives the text of the field, "" without one, or null.
  const askBack = ({ title, text = "", value, ok }) =>
    new Promise((done) => {
      const dialog = one("#dialog");
      const input = one("input", dialog);
      one("h2", dialog).textContent = title;
      one("p", dialog).textContent = text;
      one(".strong", dialog).textContent = ok;
      input.hidden = value === undefined;
      input.value = value ?? "";
      dialog.returnValue = "";
      dialog.onclose = () => done(dialog.returnValue === "ok" ? input.value.trim() : null);
      dialog.showModal();
      if (value !== undefined) input.select();
    });

  const rename = async () => {
    const conversation = state.conversation;
    const value = state.names[conversation] ?? "";
    const name = await askBack({ title: "Rename the conversation", value, ok: "Rename" });
    if (name) await post("rename", { conversation, name }).then(loadList);
  };

  const remove = async () => {
    const conversation = state.conversation;
    const text = `“${state.names[conversation] ?? "It"}” is gone for good then.`;
    const sure = await askBack({ title: "Delete this conversation?", text, ok: "Delete" });
    if (sure === null) return;
    await post("delete", { conversation });
    begin(true);
    one("#ask").focus();
    loadList();
  };

  // What people think of an answer.

  const judge = async (exchange, path, body) => {
    const { parts } = await post(path, { exchange: exchange.dataset.exchange, ...body });
    const { question, steps, ...changed } = parts;
    applyParts(exchange, changed);
    say("Kept. Thank you.");
  };

  const again = async (exchange) => {
    if (state.sending || state.running.length) return;
    state.sending = true;
    showRunning();
    try {
      const { conversation } = await post("retry", { exchange: exchange.dataset.exchange });
      exchange.remove();
      pending(one(".asked", exchange).innerText);
      await follow(conversation);
    } finally {
      state.sending = false;
      showRunning();
    }
  };

  const stop = () =>
    Promise.all(state.running.map((exchange) => post("stop", { exchange })));

  const actions = {
    edit: (_, exchange) => edit(exchange),
    keep: leaveEditing,
    retry: (_, exchange) => again(exchange),
    vote: (button, exchange) => judge(exchange, "vote", { winner: button.dataset.winner }),
    rate: (button, exchange) => {
      const isPressed = button.getAttribute("aria-pressed") === "true";
      return judge(exchange, "rate", { thumb: isPressed ? null : button.dataset.thumb });
    },
    rename,
    delete: remove,
    export: () => location.assign(route(`export/${encodeURIComponent(state.conversation)}`)),
    cancel: () => one("#dialog").close(),
  };

  // A place on this very page, whose address may hold a query that Gradio's <base> would drop.
  const goTo = (link) => {
    const place = document.getElementById(link.hash.slice(1));
    if (!place) return false;
    for (let node = place; node; node = node.parentElement) {
      if (node.tagName === "DETAILS") node.open = true;
    }
    location.hash = link.hash;
    place.scrollIntoView();
    place.focus({ preventScroll: true });
    return true;
  };

  const click = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    const at = (selector) => event.target.closest(selector);
    const link = at("a[href^='#']");
    const kept = at("[data-conversation]");
    const question = at("[data-ask]");
    const action = at("#codeqa [data-do]");
    const summary = at("#evidence summary");
    if (at("#repositories")) refreshIn(BUSY_MS / 4); // something may have begun
    if (summary) summary.parentElement.touched = true;
    if (link && goTo(link)) event.preventDefault();
    if (kept) {
      event.preventDefault();
      open(kept.dataset.conversation);
      if (matchMedia(DRAWER).matches) fold(false);
    } else if (question) ask(question.dataset.ask);
    else if (action) {
      const result = actions[action.dataset.do](action, at("[data-exchange]"));
      result?.catch?.((error) => complain(error.message));
    } else if (at("#anew")) {
      begin(true);
      one("#ask").focus();
    } else if (at("#unfold")) fold(one("#conversations").hidden);
    else if (at("#fold")) fold(false);
    else if (at(".stop-button")) stop().catch((error) => complain(error.message));
  };

  const listen = () => {
    let searching;
    document.addEventListener("click", click);
    document.addEventListener("change", (event) => event.target.closest("#choices") && showChoices());
    document.addEventListener("input", (event) => {
      if (event.target.id === "ask") fit(event.target);
      else if (event.target.name === "path_glob") showChoices();
      else if (event.target.id === "search") {
        clearTimeout(searching);
        searching = setTimeout(loadList, 150);
      }
    });
    document.addEventListener("submit", (event) => {
      const form = event.target;
      if (form.id === "question") {
        event.preventDefault();
        ask(one("#ask").value);
      } else if (form.className === "reason") {
        event.preventDefault();
        const body = { thumb: form.dataset.thumb, reason: form.elements.reason.value };
        judge(form.closest("[data-exchange]"), "rate", body).catch((error) => complain(error.message));
      }
    });
    document.addEventListener("keydown", (event) => {
      const isEnter = event.key === "Enter" && !event.isComposing;
      if (isEnter && event.target.id === "ask" && !event.shiftKey) {
        event.preventDefault();
        ask(event.target.value);
      } else if (isEnter && event.target.name === "path_glob") event.preventDefault();
      else if (event.key === "Escape" && event.target.closest("#conversations")) fold(false);
      else if (event.key === "Escape" && event.target.id === "ask") leaveEditing();
    });
    addEventListener("popstate", show);
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) return;
      refresh();
      loadList();
      if (state.conversation && !state.running.length && !state.sending) follow(state.conversation);
    });
  };

  // Show the conversation that the address names.
  const show = () => {
    const conversation = new URL(location.href).searchParams.get("conversation");
    if (conversation === state.conversation) return;
    if (conversation) open(conversation, false);
    else begin(false);
  };

  const start = () => {
    if (!one("#codeqa #question")) {
      setTimeout(start, 10); // Gradio has not put it there yet
      return;
    }
    listen();
    showEvidence(NO_EVIDENCE);
    refresh().then(loadList);
    show();
  };

  start();
})();
