"""Runs a program with OpenTelemetry's SDK recording the spans that the MCP SDK makes, one JSON object a line.

    python traced.py FILE SERVICE -m MODULE ARGUMENT...
    python traced.py FILE SERVICE SCRIPT ARGUMENT...
"""

import runpy
import sys
from pathlib import Path

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor


def main() -> None:
    file, service, *program = sys.argv[1:]
    # Line by line, since a server is ended by a signal.
    out = Path(file).open("a", encoding="utf-8", buffering=1)
    exporter = ConsoleSpanExporter(out=out, formatter=lambda span: span.to_json(indent=None) + "\n")
    provider = TracerProvider(resource=Resource({"service.name": service}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    if program[0] == "-m":
        sys.path.insert(0, "")
        sys.argv = program[1:]
        runpy.run_module(program[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = program
        sys.path.insert(0, str(Path(program[0]).parent))
        runpy.run_path(program[0], run_name="__main__")


main()
