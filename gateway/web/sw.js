/* The service worker: it stores the client's own files, and nothing else.
 *
 * The gateway puts VERSION and FILES before this text when it serves it, and VERSION into the page: one
 * changed file makes a new worker, which loads all files again and waits until no page uses the old ones, so
 * that a page never mixes two versions. All other requests pass unchanged: no answer of the gateway is read or
 * stored.
 */
const NAME = `oscc-static-${VERSION}`;
const OWN = new Set(FILES.map((file) => new URL(file, self.registration.scope).href));

self.addEventListener('install', (event) => {
  event.waitUntil(
    caches
      .open(NAME)
      .then((cache) => cache.addAll(FILES.map((file) => new Request(file, {cache: 'no-cache'})))),
  );
});

self.addEventListener('activate', (event) => {
  const others = (names) =>
    Promise.all(names.filter((name) => name !== NAME).map((name) => caches.delete(name)));
  event.waitUntil(
    caches
      .keys()
      .then(others)
      .then(() => self.clients.claim()),
  );
});

self.addEventListener('message', (event) => {
  if (event.data === 'go on') self.skipWaiting();
  else if (event.data === 'version') event.ports[0].postMessage(VERSION);
});

self.addEventListener('fetch', (event) => {
  const {method, url} = event.request;
  if (method !== 'GET' || !OWN.has(url)) return;
  event.respondWith(caches.match(url, {cacheName: NAME}).then((kept) => kept ?? fetch(event.request)));
});
