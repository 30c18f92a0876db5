"""Drives one server with the official Python SDK client; the counterpart of client.mjs.

    python client.py URL ERA PLAN

Prints what the client saw, one JSON line a step. ERA is `legacy`, `modern` (2026-07-28 pinned) or
`auto` (probe, then fall back), PLAN a file of plans/, whose README.md has the format of both.
"""

import asyncio
import json
import sys
import warnings
from typing import Any

import mcp
import mcp.types as types
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from pydantic import BaseModel

MODERN = "2026-07-28"
STEP_DEADLINE_SECONDS = 20.0
PER_CONNECTION = {"connection", "content-length", "date", "keep-alive", "transfer-encoding"}

# The legacy requests that this plan drives on purpose are marked deprecated by the SDK.
warnings.simplefilter("ignore")


def plain(value: Any) -> Any:
    """A model as the JSON that it has on the wire."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True, exclude_none=True)
    return value


class Peer:
    def __init__(self, url: str, era: str, plan: dict[str, Any]) -> None:
        self.url, self.era, self.plan = url, era, plan
        self.received: dict[str, list[Any]] = {}
        self.news = asyncio.Event()
        self.elicit: dict[str, Any] = {}
        self.exchanges: list[str] = []
        self.http = create_mcp_http_client()
        self.http.event_hooks["response"].append(self.exchanged)
        self.client = mcp.Client(
            streamable_http_client(url, http_client=self.http),
            mode=MODERN if era == "modern" else era,
            client_info=types.Implementation(name="watchgate-peer", version="1.0.0"),
            sampling_callback=self.sample,
            elicitation_callback=self.elicited,
            list_roots_callback=self.roots,
            message_handler=self.message,
            cache=None,
        )

    async def exchanged(self, response: Any) -> None:
        request = response.request
        method = json.loads(request.content).get("method", "-") if request.method == "POST" else "-"
        headers = {name: value for name, value in response.headers.items() if name not in PER_CONNECTION}
        self.exchanges.append(json.dumps([request.method, method, response.status_code, headers]))

    def note(self, method: str, params: Any) -> None:
        if method not in self.plan.get("ignore", []):
            self.received.setdefault(method, []).append(plain(params))
            self.news.set()

    async def sample(self, _context: Any, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
        self.note("sampling/createMessage", params)
        text = " ".join(message.content.text for message in params.messages)
        content = types.TextContent(type="text", text=f"sampled: {text}")
        return types.CreateMessageResult(model="peer-model", role="assistant", content=content)

    async def elicited(self, _context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        self.note("elicitation/create", params)
        return types.ElicitResult(action="accept", content=self.elicit)

    async def roots(self, _context: Any) -> types.ListRootsResult:
        self.note("roots/list", None)
        return types.ListRootsResult(roots=[types.Root(uri="file:///peer/root", name="peer-root")])

    async def message(self, message: Any) -> None:
        if isinstance(message, Exception):
            self.note("transport error", repr(message))
        elif not isinstance(message, types.ProgressNotification):  # those have a callback of their own
            self.note(message.method, message.params)

    async def progressed(self, progress: float, total: float | None, message: str | None) -> None:
        self.note("notifications/progress", {"progress": progress, "total": total, "message": message})

    async def arrived(self, expected: dict[str, int]) -> None:
        def missing() -> dict[str, int]:
            return {method: n for method, n in expected.items() if len(self.received.get(method, [])) < n}

        async with asyncio.timeout(STEP_DEADLINE_SECONDS):
            while missing():
                self.news.clear()
                await self.news.wait()

    # One method for each `do` of a plan; the name is the method with `_` for `/`.

    async def connect(self, _step: dict[str, Any]) -> Any:
        await self.client.__aenter__()
        return {
            "protocolVersion": self.client.protocol_version,
            "server": plain(self.client.server_info),
            "capabilities": plain(self.client.server_capabilities),
            "instructions": self.client.instructions,
        }

    async def ping(self, _step: dict[str, Any]) -> Any:
        return await self.client.send_ping()

    async def tools_list(self, _step: dict[str, Any]) -> Any:
        return await self.client.list_tools()

    async def tools_call(self, step: dict[str, Any]) -> Any:
        meta: Any = None
        if "logLevel" in step and self.era != "legacy":
            meta = {"io.modelcontextprotocol/logLevel": step["logLevel"]}
        progress = self.progressed if step.get("progress") else None
        return await self.client.call_tool(
            step["name"], step.get("arguments", {}), STEP_DEADLINE_SECONDS, progress, meta=meta
        )

    async def resources_list(self, _step: dict[str, Any]) -> Any:
        return await self.client.list_resources()

    async def resources_templates_list(self, _step: dict[str, Any]) -> Any:
        return await self.client.list_resource_templates()

    async def resources_read(self, step: dict[str, Any]) -> Any:
        return await self.client.read_resource(step["uri"])

    async def resources_subscribe(self, step: dict[str, Any]) -> Any:
        return await self.client.subscribe_resource(step["uri"])

    async def resources_unsubscribe(self, step: dict[str, Any]) -> Any:
        return await self.client.unsubscribe_resource(step["uri"])

    async def prompts_list(self, _step: dict[str, Any]) -> Any:
        return await self.client.list_prompts()

    async def prompts_get(self, step: dict[str, Any]) -> Any:
        return await self.client.get_prompt(step["name"], step.get("arguments"))

    async def completion_complete(self, step: dict[str, Any]) -> Any:
        kinds = {"ref/prompt": types.PromptReference, "ref/resource": types.ResourceTemplateReference}
        reference = kinds[step["ref"]["type"]](**step["ref"])
        context = step.get("context", {}).get("arguments")
        return await self.client.complete(reference, step["argument"], context)

    async def logging_setLevel(self, step: dict[str, Any]) -> Any:
        return await self.client.set_logging_level(step["level"])

    async def roots_list_changed(self, _step: dict[str, Any]) -> Any:
        await self.client.send_roots_list_changed()
        return {}

    async def subscriptions_listen(self, step: dict[str, Any]) -> Any:
        names = {"toolsListChanged": "tools_list_changed", "promptsListChanged": "prompts_list_changed"}
        async with self.client.listen(**{names[name]: wanted for name, wanted in step["filter"].items()}) as events:
            await self.client.call_tool(step["trigger"], {})
            async with asyncio.timeout(STEP_DEADLINE_SECONDS):
                event = await anext(aiter(events))
            await self.arrived(step.get("await", {}))
            return {"event": type(event).__name__}

    async def close(self, _step: dict[str, Any]) -> Any:
        await self.client.__aexit__(None, None, None)
        await self.http.aclose()
        return {}

    async def run(self, step: dict[str, Any]) -> None:
        self.received, self.elicit = {}, step.get("elicit", {})
        line: dict[str, Any] = {"step": step["id"]}
        try:
            operation = getattr(self, step["do"].replace("/", "_"))
            line["result"] = plain(await operation(step))
            await self.arrived(step.get("await", {}))
        except mcp.MCPError as error:
            line["error"] = {"name": "MCPError", "code": error.code, "message": error.message, "data": error.data}
        except Exception as error:  # whatever else goes wrong is an observation too
            line["error"] = {"name": type(error).__name__, "code": None, "message": str(error), "data": None}
        line["received"] = self.received
        print(json.dumps(line), flush=True)

    async def follow(self) -> None:
        era = self.plan["auto"] if self.era == "auto" else self.era
        for step in self.plan["steps"]:
            if step.get("era", era) == era:
                await self.run(step)
        print(json.dumps({"step": "exchanges", "result": sorted(self.exchanges)}), flush=True)


def main() -> None:
    url, era, plan = sys.argv[1:]
    with open(plan, encoding="utf-8") as file:
        asyncio.run(Peer(url, era, json.load(file)).follow())


main()
