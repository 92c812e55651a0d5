// Server with npm's ws: one send per client, as its documentation shows.
"use strict";
const { WebSocketServer } = require("ws");

const subscribers = new Map();
const server = new WebSocketServer({
  host: "127.0.0.1",
  port: Number(process.argv[2]),
  backlog: 4096,
  perMessageDeflate: false,
  clientTracking: false,
});

function publish(topic, message) {
  // bytes, so that the text is encoded once and not for each client
  for (const client of subscribers.get(topic) ?? []) client.send(message, { binary: false });
}

server.on("connection", (socket) => {
  const topics = new Set();
  socket.on("message", (received) => {
    const topicEnd = received.indexOf(" ", 4);
    if (received.toString("latin1", 0, 3) === "pub") {
      publish(received.toString("utf8", 4, topicEnd), received.subarray(topicEnd + 1));
      return;
    }
    const topic = received.toString("utf8", 4);
    topics.add(topic);
    if (!subscribers.has(topic)) subscribers.set(topic, new Set());
    subscribers.get(topic).add(socket);
  });
  socket.on("close", () => topics.forEach((topic) => subscribers.get(topic).delete(socket)));
  socket.on("error", () => socket.terminate());
});
