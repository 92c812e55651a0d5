// socket.io server: fan-out into one of its rooms.
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

// as its documentation advises: release the first HTTP request to save memory
io.engine.on("connection", (raw) => {
  raw.request = null;
});
io.on("connection", (socket) => {
  // the topic comes with the connection: an event would have to wait for the server's answer
  if (socket.handshake.auth.topic) socket.join(socket.handshake.auth.topic);
  socket.on("pub", (topic, message) => io.to(topic).emit("m", message));
});
http.listen({ host: "127.0.0.1", port: Number(process.argv[2]), backlog: 4096 });
