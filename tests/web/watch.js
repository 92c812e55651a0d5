// Notes what the page's head says, and how much of the page moves.
(() => {
  globalThis.seen = [];
  globalThis.moved = 0;
  globalThis.movers = [];
  const shell = document.querySelector('.shell');
  const look = () => {
    const text = document.querySelector('.health-text').textContent;
    const health = document.querySelector('.health').dataset.health;
    const longest = document.querySelectorAll('.kpi dd')[1]?.textContent ?? '';
    const last = [text, health, shell.dataset.frozen ?? '', longest].join('|');
    if (seen.at(-1) !== last) seen.push(last);
  };
  new MutationObserver(look).observe(shell,
    {subtree: true, childList: true, attributes: true, characterData: true});
  const move = (node, from, to) => movers.push(`${node?.className ?? node} ${from} to ${to}`);
  if (PerformanceObserver.supportedEntryTypes.includes('layout-shift')) {
    new PerformanceObserver((list) => {
      for (const each of list.getEntries()) {
        moved += each.value;
        for (const {node, previousRect: from, currentRect: to} of each.sources)
          move(node, [from.x, from.y], [to.x, to.y]);
      }
    }).observe({type: 'layout-shift'});
    return;
  }
  // as layout shift is defined: the share of the screen that moves, times how far
  const places = new WeakMap();
  const compare = () => {
    const carried = new Map();
    for (const node of shell.querySelectorAll('*')) {
      const {offsetParent, offsetLeft: x, offsetTop: y, offsetWidth, offsetHeight} = node;
      if (!offsetParent) continue;
      const last = places.get(node);
      places.set(node, {offsetParent, x, y});
      if (last?.offsetParent !== offsetParent) continue;
      const far = Math.max(Math.abs(x - last.x), Math.abs(y - last.y));
      if (far < 3) continue;
      const way = `${x - last.x} ${y - last.y}`;
      carried.set(node, way);
      if (carried.get(node.parentElement) === way) continue;
      const share = (offsetWidth * offsetHeight) / (innerWidth * innerHeight);
      moved += share * (far / Math.max(innerWidth, innerHeight));
      move(node, [last.x, last.y], [x, y]);
    }
  };
  const soon = () => requestAnimationFrame(compare);
  new MutationObserver(soon).observe(shell,
    {subtree: true, childList: true, attributes: true, characterData: true});
  compare();
})()
