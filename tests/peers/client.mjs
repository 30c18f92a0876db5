// Drives one server with an official TypeScript SDK client and prints what the client saw, one
// JSON line a step.
//
//   node client.mjs SDK URL ERA PLAN
//
// SDK is `v1` (@modelcontextprotocol/sdk), `v1-sse` (the same over HTTP+SSE) or `v2`
// (@modelcontextprotocol/client), ERA is `legacy`,
// `modern` (2026-07-28 pinned) or `auto` (probe, then fall back; v2 only), PLAN a file of plans/.
// client.py does the same with the Python SDK; plans/README.md has the format of both.
import { readFileSync } from "node:fs";

const MODERN = "2026-07-28";
const STEP_DEADLINE_MS = 20_000;
const IDENTITY = { name: "watchgate-peer", version: "1.0.0" };
const CAPABILITIES = { sampling: {}, elicitation: {}, roots: { listChanged: true } };

const [sdk, url, era, planFile] = process.argv.slice(2);
const plan = JSON.parse(readFileSync(planFile, "utf8"));

// What the running step has received from the server, and the waiter that looks at it.
let received = {};
let wakeUp = () => {};
let elicitContent = {};

function note(method, params) {
  if (plan.ignore?.includes(method)) return;
  (received[method] ??= []).push(params ?? null);
  wakeUp();
}

const answers = {
  "sampling/createMessage": (params) => {
    const text = params.messages.map((message) => message.content.text).join(" ");
    return { model: "peer-model", role: "assistant", content: { type: "text", text: `sampled: ${text}` } };
  },
  "elicitation/create": () => ({ action: "accept", content: elicitContent }),
  "roots/list": () => ({ roots: [{ uri: "file:///peer/root", name: "peer-root" }] }),
};

async function answer(request) {
  note(request.method, request.params);
  return answers[request.method](request.params);
}

// Every HTTP exchange, as one line: what went out and the status and headers that came back.
const exchanges = [];
const PER_CONNECTION = new Set(["connection", "content-length", "date", "keep-alive", "transfer-encoding"]);

// Requests without a head of their answer yet. Over HTTP+SSE what a request asks for may arrive on the
// stream before that.
const unanswered = new Set();

async function recordingFetch(input, init = {}) {
  const answered = fetch(input, init);
  unanswered.add(answered);
  const response = await answered.finally(() => unanswered.delete(answered));
  const message = typeof init.body === "string" ? JSON.parse(init.body) : {};
  const headers = [...response.headers].filter(([name]) => !PER_CONNECTION.has(name));
  exchanges.push(
    JSON.stringify([init.method ?? "GET", message.method ?? "-", response.status, Object.fromEntries(headers)]),
  );
  return response;
}

// With the answer to a call the SDK forgets who wants its progress, and loses the last of it when both come
// in one piece. On the one stream of HTTP+SSE they often do, so each message gets a turn of its own.
function oneByOne(transport) {
  let deliver;
  let turn = Promise.resolve();
  const later = (...message) => {
    turn = turn.then(() => new Promise((resolve) => setImmediate(resolve))).then(() => deliver(...message));
  };
  Object.defineProperty(transport, "onmessage", {
    get: () => deliver && later,
    set: (handler) => (deliver = handler),
  });
  return transport;
}

async function newV1() {
  const { Client } = await import("@modelcontextprotocol/sdk/client/index.js");
  const { SSEClientTransport } = await import("@modelcontextprotocol/sdk/client/sse.js");
  const { StreamableHTTPClientTransport } = await import("@modelcontextprotocol/sdk/client/streamableHttp.js");
  if (era !== "legacy") throw new Error("the v1 SDK speaks only the legacy era");
  const client = new Client(IDENTITY, { capabilities: CAPABILITIES });
  client.fallbackRequestHandler = answer;
  if (sdk === "v1-sse") return { client, transport: oneByOne(new SSEClientTransport(new URL(url), { fetch: recordingFetch })) };
  return { client, transport: new StreamableHTTPClientTransport(new URL(url), { fetch: recordingFetch }) };
}

async function newV2() {
  const { Client, StreamableHTTPClientTransport } = await import("@modelcontextprotocol/client");
  const mode = { legacy: "legacy", modern: { pin: MODERN }, auto: "auto" }[era];
  const client = new Client(IDENTITY, { capabilities: CAPABILITIES, versionNegotiation: { mode } });
  for (const method of Object.keys(answers)) client.setRequestHandler(method, answer);
  return { client, transport: new StreamableHTTPClientTransport(new URL(url), { fetch: recordingFetch }) };
}

const { client, transport } = await (sdk === "v2" ? newV2() : newV1());
client.fallbackNotificationHandler = async ({ method, params }) => note(method, params);

// The level a 2026-07-28 request asks for in its own `_meta`; legacy sessions say it once.
function withMeta(params, step) {
  if (!step.logLevel || era === "legacy") return params;
  return { ...params, _meta: { "io.modelcontextprotocol/logLevel": step.logLevel } };
}

const operations = {
  connect: async () => {
    await client.connect(transport);
    return {
      protocolVersion: transport.protocolVersion ?? client.getNegotiatedProtocolVersion?.(),
      server: client.getServerVersion(),
      capabilities: client.getServerCapabilities(),
      instructions: client.getInstructions() ?? null,
    };
  },
  ping: () => client.ping(),
  "tools/list": () => client.listTools(),
  "tools/call": (step) => {
    const params = withMeta({ name: step.name, arguments: step.arguments ?? {} }, step);
    const options = { timeout: STEP_DEADLINE_MS };
    if (step.progress) options.onprogress = (progress) => note("notifications/progress", progress);
    return sdk === "v2" ? client.callTool(params, options) : client.callTool(params, undefined, options);
  },
  "resources/list": () => client.listResources(),
  "resources/templates/list": () => client.listResourceTemplates(),
  "resources/read": (step) => client.readResource({ uri: step.uri }),
  "resources/subscribe": (step) => client.subscribeResource({ uri: step.uri }),
  "resources/unsubscribe": (step) => client.unsubscribeResource({ uri: step.uri }),
  "prompts/list": () => client.listPrompts(),
  "prompts/get": (step) => client.getPrompt({ name: step.name, arguments: step.arguments }),
  "completion/complete": (step) =>
    client.complete({ ref: step.ref, argument: step.argument, ...(step.context && { context: step.context }) }),
  "logging/setLevel": (step) => client.setLoggingLevel(step.level),
  "roots/list_changed": async () => {
    await client.sendRootsListChanged();
    return {};
  },
  "subscriptions/listen": async (step) => {
    const subscription = await client.listen(step.filter);
    await client.callTool({ name: step.trigger, arguments: {} });
    await arrived(step.await);
    await subscription.close();
    return { ended: await subscription.closed };
  },
  close: async () => {
    await Promise.allSettled(unanswered);
    // Over HTTP+SSE the end of the stream is the end of the session.
    if (era === "legacy") await transport.terminateSession?.();
    await client.close();
    return {};
  },
};

// Resolves when the step has received what it waits for; the deadline is the failure of the step.
async function arrived(expected = {}) {
  const missing = () => Object.entries(expected).filter(([method, count]) => (received[method]?.length ?? 0) < count);
  const deadline = Date.now() + STEP_DEADLINE_MS;
  while (missing().length > 0) {
    const left = deadline - Date.now();
    if (left <= 0) throw new Error(`still waiting for ${JSON.stringify(missing())}`);
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, left);
      wakeUp = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

function describe(error) {
  return { name: error.constructor.name, code: error.code ?? null, message: error.message, data: error.data ?? null };
}

async function run(step) {
  received = {};
  elicitContent = step.elicit ?? {};
  const line = { step: step.id };
  try {
    line.result = await operations[step.do](step);
    await arrived(step.await);
  } catch (error) {
    line.error = describe(error);
  }
  line.received = received;
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

const speaks = (step) => !step.era || step.era === (era === "auto" ? plan.auto : era);
for (const step of plan.steps.filter(speaks)) await run(step);
process.stdout.write(`${JSON.stringify({ step: "exchanges", result: exchanges.sort() })}\n`);
process.exit(0);
