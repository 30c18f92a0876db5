"""Drives one server over HTTP+SSE with version 1 of the Python SDK; client.py does so with version 2.

    python client_v1.py URL legacy PLAN

Prints what the client saw, one JSON line a step. PLAN is a file of plans/, whose README.md has the
format of both.
"""

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import httpx
import mcp.types as types
from mcp import ClientSession, McpError
from mcp.client.sse import sse_client
from mcp.shared._httpx_utils import create_mcp_http_client
from pydantic import AnyUrl, BaseModel

STEP_DEADLINE = timedelta(seconds=20)
PER_CONNECTION = {"connection", "content-length", "date", "keep-alive", "transfer-encoding"}


def plain(value: Any) -> Any:
    """A model as the JSON that it has on the wire."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True, exclude_none=True)
    return value


class Peer:
    def __init__(self, url: str, plan: dict[str, Any]) -> None:
        self.url, self.plan = url, plan
        self.received: dict[str, list[Any]] = {}
        self.news = asyncio.Event()
        self.elicit: dict[str, Any] = {}
        self.exchanges: list[str] = []
        self.unanswered = 0
        self.open = AsyncExitStack()
        self.session: ClientSession

    def http(self, **options: Any) -> httpx.AsyncClient:
        client = create_mcp_http_client(**options)
        client.event_hooks["request"].append(self.asked)
        client.event_hooks["response"].append(self.exchanged)
        return client

    async def asked(self, _request: httpx.Request) -> None:
        self.unanswered += 1

    async def exchanged(self, response: httpx.Response) -> None:
        self.unanswered -= 1
        self.news.set()
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
        return types.ListRootsResult(roots=[types.Root(uri=AnyUrl("file:///peer/root"), name="peer-root")])

    async def message(self, message: Any) -> None:
        if isinstance(message, Exception):
            self.note("transport error", repr(message))
        elif isinstance(message, types.ServerNotification) and not isinstance(message.root, types.ProgressNotification):
            self.note(message.root.method, message.root.params)

    async def progressed(self, progress: float, total: float | None, message: str | None) -> None:
        self.note("notifications/progress", {"progress": progress, "total": total, "message": message})

    async def arrived(self, expected: dict[str, int]) -> None:
        async with asyncio.timeout(STEP_DEADLINE.total_seconds()):
            while any(len(self.received.get(method, [])) < count for method, count in expected.items()):
                self.news.clear()
                await self.news.wait()

    # One method for each `do` of a plan; the name is the method with `_` for `/`.

    async def connect(self, _step: dict[str, Any]) -> Any:
        streams = await self.open.enter_async_context(sse_client(self.url, httpx_client_factory=self.http))
        session = ClientSession(
            *streams,
            read_timeout_seconds=STEP_DEADLINE,
            sampling_callback=self.sample,
            elicitation_callback=self.elicited,
            list_roots_callback=self.roots,
            message_handler=self.message,
            client_info=types.Implementation(name="watchgate-peer", version="1.0.0"),
        )
        self.session = await self.open.enter_async_context(session)
        found = await self.session.initialize()
        return {
            "protocolVersion": found.protocolVersion,
            "server": plain(found.serverInfo),
            "capabilities": plain(found.capabilities),
            "instructions": found.instructions,
        }

    async def ping(self, _step: dict[str, Any]) -> Any:
        return await self.session.send_ping()

    async def tools_list(self, _step: dict[str, Any]) -> Any:
        return await self.session.list_tools()

    async def tools_call(self, step: dict[str, Any]) -> Any:
        progress = self.progressed if step.get("progress") else None
        return await self.session.call_tool(step["name"], step.get("arguments", {}), progress_callback=progress)

    async def resources_list(self, _step: dict[str, Any]) -> Any:
        return await self.session.list_resources()

    async def resources_templates_list(self, _step: dict[str, Any]) -> Any:
        return await self.session.list_resource_templates()

    async def resources_read(self, step: dict[str, Any]) -> Any:
        return await self.session.read_resource(AnyUrl(step["uri"]))

    async def resources_subscribe(self, step: dict[str, Any]) -> Any:
        return await self.session.subscribe_resource(AnyUrl(step["uri"]))

    async def resources_unsubscribe(self, step: dict[str, Any]) -> Any:
        return await self.session.unsubscribe_resource(AnyUrl(step["uri"]))

    async def prompts_list(self, _step: dict[str, Any]) -> Any:
        return await self.session.list_prompts()

    async def prompts_get(self, step: dict[str, Any]) -> Any:
        return await self.session.get_prompt(step["name"], step.get("arguments"))

    async def completion_complete(self, step: dict[str, Any]) -> Any:
        kinds = {"ref/prompt": types.PromptReference, "ref/resource": types.ResourceTemplateReference}
        reference = kinds[step["ref"]["type"]](**step["ref"])
        return await self.session.complete(reference, step["argument"], step.get("context", {}).get("arguments"))

    async def logging_setLevel(self, step: dict[str, Any]) -> Any:
        return await self.session.set_logging_level(step["level"])

    async def roots_list_changed(self, _step: dict[str, Any]) -> Any:
        await self.session.send_roots_list_changed()
        return {}

    async def close(self, _step: dict[str, Any]) -> Any:
        # What a request asks for may arrive on the stream before the answer to the request itself.
        async with asyncio.timeout(STEP_DEADLINE.total_seconds()):
            while self.unanswered > 0:
                self.news.clear()
                await self.news.wait()
        await self.open.aclose()
        return {}

    async def run(self, step: dict[str, Any]) -> None:
        self.received, self.elicit = {}, step.get("elicit", {})
        line: dict[str, Any] = {"step": step["id"]}
        try:
            operation = getattr(self, step["do"].replace("/", "_"))
            line["result"] = plain(await operation(step))
            await self.arrived(step.get("await", {}))
        except McpError as error:
            found = error.error
            line["error"] = {"name": "McpError", "code": found.code, "message": found.message, "data": found.data}
        except Exception as error:  # whatever else goes wrong is an observation too
            line["error"] = {"name": type(error).__name__, "code": None, "message": str(error), "data": None}
        line["received"] = self.received
        print(json.dumps(line), flush=True)

    async def follow(self) -> None:
        for step in self.plan["steps"]:
            if step.get("era", "legacy") == "legacy":
                await self.run(step)
        print(json.dumps({"step": "exchanges", "result": sorted(self.exchanges)}), flush=True)


def main() -> None:
    url, era, plan = sys.argv[1:]
    if era != "legacy":
        raise SystemExit("version 1 of the SDK speaks only the legacy era")
    with open(plan, encoding="utf-8") as file:
        asyncio.run(Peer(url, json.load(file)).follow())


main()
