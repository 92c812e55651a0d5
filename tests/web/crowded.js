// Finds texts that overprint, are cut or leave the screen, and what scrolls sideways.
(() => {
  const faults = [];
  const texts = [];
  const clip = (node, box) => {
    for (let up = node; up && up !== document.body; up = up.parentElement) {
      const style = getComputedStyle(up);
      if (style.overflowX === 'visible' && style.overflowY === 'visible') continue;
      const outer = up.getBoundingClientRect();
      box = {left: Math.max(box.left, outer.left), right: Math.min(box.right, outer.right),
        top: Math.max(box.top, outer.top), bottom: Math.min(box.bottom, outer.bottom)};
    }
    return box;
  };
  const scrolls = (node) => {
    for (let up = node; up && up !== document.body; up = up.parentElement)
      if (['auto', 'scroll'].includes(getComputedStyle(up).overflowX) && up.scrollWidth > up.clientWidth)
        return true;
    return false;
  };
  const shortens = (node) => {
    for (let up = node; up && up !== document.body; up = up.parentElement)
      if (getComputedStyle(up).textOverflow === 'ellipsis') return true;
    return false;
  };
  const layer = (node) => node.closest('dialog, #toasts, .dock, .banner.over, .step-foot')?.className ?? '';
  const open = document.querySelector('dialog[open]');
  const walker = document.createTreeWalker(open ?? document.getElementById('app'), NodeFilter.SHOW_TEXT);
  for (let text; (text = walker.nextNode());) {
    const node = text.parentElement;
    if (!text.textContent.trim() || node.closest('.sr, .skip, option, select') || !node.checkVisibility(
      {visibilityProperty: true, opacityProperty: true})) continue;
    const range = document.createRange();
    range.selectNodeContents(text);
    const line = parseFloat(getComputedStyle(node).lineHeight);
    for (const {left, right, top, bottom} of range.getClientRects()) {
      // letters stay within their line, though a font's box may be higher
      const spare = Math.max(0, (bottom - top - line) / 2) || 0;
      const raw = {left, right, top: top + spare, bottom: bottom - spare};
      const name = `"${text.textContent.trim().slice(0, 40)}" in .${node.className || node.tagName}`;
      const box = clip(node, raw);
      if (box.right - box.left < 2 || box.bottom - box.top < 2) {
        continue;
      }
      if ((box.right > innerWidth + 1 || box.left < -1) && !scrolls(node)) faults.push(`${name} leaves`);
      const cut = raw.right - box.right > 2 && !shortens(node) && !scrolls(node);
      if (cut) faults.push(`${name} is cut by ${Math.round(raw.right - box.right)} px`);
      texts.push({name, node, box, layer: layer(node), text: text.textContent});
    }
  }
  for (const [place, a] of texts.entries())
    for (const b of texts.slice(place + 1)) {
      if (a.node === b.node || a.layer !== b.layer) continue;
      const wide = Math.min(a.box.right, b.box.right) - Math.max(a.box.left, b.box.left);
      const high = Math.min(a.box.bottom, b.box.bottom) - Math.max(a.box.top, b.box.top);
      const small = Math.min(a.box.bottom - a.box.top, b.box.bottom - b.box.top);
      if (wide > 2 && high > small * 0.35) faults.push(`${a.name} and ${b.name} overprint`);
      const follows = Math.abs(wide) < 1 && high > small * 0.5 && a.box.left < b.box.left;
      const [ends, begins] = [/\p{L}$/u.test(a.text), /^\p{L}/u.test(b.text)];
      if (follows && ends && begins) faults.push(`${a.name} runs into ${b.name}`);
    }
  for (const node of (open ?? document.getElementById('app')).querySelectorAll('button, select, input')) {
    const {left, right, width} = node.getBoundingClientRect();
    if (!node.checkVisibility() || !width || scrolls(node) || node.closest('.sr, .skip, .segments')) continue;
    if (left < -1 || right > innerWidth + 1) faults.push(`"${node.ariaLabel ?? node.textContent}" leaves`);
  }
  for (const name of document.querySelectorAll('.kpi dt, .tabs span, .helpers .a-name'))
    if (name.checkVisibility() && name.scrollWidth > name.clientWidth + 1)
      faults.push(`"${name.textContent}" is shortened`);
  const tools = document.querySelector('.pane-tools select');
  const roomy = innerWidth >= 390 && !document.querySelector('[data-large]');
  if (roomy && tools?.checkVisibility() && tools.getBoundingClientRect().width < 110)
    faults.push('the choice of queues is too narrow for its words');
  const lines = new Map();
  for (const {node} of texts) lines.set(node, (lines.get(node) ?? 0) + 1);
  for (const figure of document.querySelectorAll('.kpi dd span'))
    if (lines.get(figure) > 1) faults.push(`"${figure.textContent}" takes more than one line`);
  if (document.documentElement.scrollWidth > innerWidth + 1) faults.push('the page scrolls sideways');
  for (const pane of document.querySelectorAll('.place, .scroll, .detail, dialog > .body'))
    if (getComputedStyle(pane).overflowX === 'auto' && pane.scrollWidth > pane.clientWidth + 1)
      faults.push(`.${pane.className} scrolls sideways`);
  return [...new Set(faults)];
})()
