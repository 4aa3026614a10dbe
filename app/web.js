// A citation leads to its lines: unfold them if need be, and stay on this very page, whose
// address may hold a query that Gradio's <base> would drop.
document.addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="#"]');
  const place = link && document.getElementById(link.hash.slice(1));
  if (!place || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  for (let node = place; node; node = node.parentElement) {
    if (node.tagName === "DETAILS") node.open = true;
  }
  location.hash = link.hash;
  place.scrollIntoView();
});
