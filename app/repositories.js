// The drawer of repositories: opened, closed, and what its buttons say, told to the server.
// Runs in Gradio's component of the list, whose `trigger` calls the server.
const drawer = () => document.getElementById("repositories");
let opener = null;

const open = (button) => {
  opener = button;
  drawer().classList.add("open");
  document.getElementById("codeqa")?.setAttribute("inert", "");
  trigger("click", { do: "refresh" });
  drawer().querySelector("#repositories-add textarea, #repositories-add input")?.focus();
};

const close = () => {
  drawer().classList.remove("open");
  document.getElementById("codeqa")?.removeAttribute("inert");
  (opener?.isConnected ? opener : document.getElementById("open-repositories"))?.focus();
};

const act = (button) => {
  if (button.dataset.do === "close") return close();
  if (button.dataset.do === "remove" && !button.dataset.sure) {
    button.dataset.sure = "yes"; // the second click does it
    button.dataset.label = button.textContent;
    button.textContent = "Really remove?";
    button.addEventListener("blur", () => {
      delete button.dataset.sure;
      button.textContent = button.dataset.label;
    }, { once: true });
    return undefined;
  }
  return trigger("click", { do: button.dataset.do, name: button.dataset.name || "" });
};

document.addEventListener("click", (event) => {
  const opens = event.target.closest("#open-repositories");
  if (opens) open(opens);
  const button = event.target.closest("#repositories [data-do]");
  if (button && !button.disabled) act(button);
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && drawer().classList.contains("open")) close();
});

const panel = drawer();
panel.setAttribute("role", "dialog");
panel.setAttribute("aria-modal", "true");
panel.setAttribute("aria-labelledby", "repositories-title");
document.getElementById("repositories-jobs")?.setAttribute("role", "status");
