// How fast does socket.io fan out into one of its rooms?
"use strict";
const { createServer } = require("node:http");
const { Server } = require("socket.io");

const http = createServer();
const io = new Server(http, {
  transports: ["websocket"],
  perMessageDeflate: false,
  httpCompression: false,
  serveClient: false,
});

// its own advice on memory: let the first HTTP request go
io.engine.on("connection", (raw) => {
  raw.request = null;
});
io.on("connection", (socket) => {
  // told while connecting: an event may only follow the server's answer, which the load generator does not wait for
  if (socket.handshake.auth.topic) socket.join(socket.handshake.auth.topic);
  socket.on("pub", (topic, message) => io.to(topic).emit("m", message));
});
http.listen({ host: "127.0.0.1", port: Number(process.argv[2]), backlog: 4096 });
