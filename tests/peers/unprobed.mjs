// Preloaded (`node --import`) into the conformance suite: its mock servers never see what the gateway asks
// of its own accord. They take every request for one of the client under test, and some of them answer
// the first one in a special way.
import { Server } from "node:http";

const emit = Server.prototype.emit;
Server.prototype.emit = function (event, request, response, ...rest) {
  if (event === "request" && request.headers["user-agent"]?.startsWith("watchgate/")) {
    // To the gateway, a server that wants credentials is up.
    response.writeHead(401).end();
    return true;
  }
  return emit.call(this, event, request, response, ...rest);
};
