// Preloaded (`node --import`) into servers that bind every interface and know only fixed ports:
// makes each listener bind 127.0.0.1 and print the port it really got.
import { Server } from "node:net";

const listen = Server.prototype.listen;
Server.prototype.listen = function (port, ...rest) {
  const callback = rest.find((argument) => typeof argument === "function");
  this.once("listening", () => console.log(`peer listening on http://127.0.0.1:${this.address().port}`));
  return listen.call(this, Number(port), "127.0.0.1", callback);
};
