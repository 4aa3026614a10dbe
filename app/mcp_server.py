"""`codeqa mcp`: the tools of `app.mcp_tools` over the Model Context Protocol.

Over standard input and output by default, where nothing but the protocol is written to stdout; or
over HTTP. HTTP answers this machine alone, unless a host is named and a token set. Whoever asks
must address the server by a name it knows: a web page that a browser was lured to cannot.
"""

import argparse
import importlib.metadata
import inspect
import signal
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.transport_security import TransportSecuritySettings
from mcp.types import CallToolResult, InputRequiredResult, ToolAnnotations
from pydantic import ValidationError
from starlette.types import ASGIApp

from app.access import TOKEN_VARIABLE, Access, find_access
from app.api_guard import Guard
from app.logs import LogOptions, configure_logs
from app.mcp_tools import CodeTools
from app.request_log import RequestLog
from data_tools.errors import CodeQAError, TokenError
from retrieval.index import CodeIndex


def run_mcp(options: argparse.Namespace) -> None:
    """Serve an index to coding agents until they close the connection, or Ctrl-C."""
    from app.llm import open_chat_model

    configure_logs(LogOptions(options.log_json, options.log_questions))
    with CodeIndex.open(options.index) as index:
        chat = open_chat_model(options.llm, model=options.model, timeout_s=options.timeout)
        server = make_server(CodeTools(index, chat))
        if options.http:
            access = find_access(options.host, options.token_file)
            serve_http(server, options.host, options.port, access, options.allow_host)
        else:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing is lost, and reading cannot wait
            if sys.stdin.isatty():
                print("codeqa: waiting for an agent's messages (Ctrl-C stops it)", file=sys.stderr)
            server.run("stdio")


def make_server(tools: CodeTools) -> MCPServer:
    """Make the MCP server of some tools; as soon as it runs, it loads the embedding model."""

    @asynccontextmanager
    async def lifespan(_: MCPServer) -> AsyncIterator[None]:
        threading.Thread(target=tools.warm_up, name="warm-up", daemon=True).start()
        yield

    server = _Server(
        "codeqa",
        title="codeqa: questions about code",
        instructions="Finds and explains code in the indexed repositories, with file, lines and "
        "commit. Search here before you grep or open files one by one.",
        version=importlib.metadata.version("codeqa"),
        log_level="WARNING",
        lifespan=lifespan,
    )
    for tool in (tools.search_code, tools.read_lines, tools.ask, tools.list_repositories):
        server.add_tool(
            tool,
            description=inspect.getdoc(tool),
            annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False),
        )
    return server


class _Server(MCPServer):
    """Says what went wrong in one line, and of a `CodeQAError` how to mend it."""

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context | None = None
    ) -> CallToolResult | InputRequiredResult:
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            match error.__cause__:
                case ValidationError() as cause:
                    problems = (
                        f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
                        for problem in cause.errors()
                    )
                    raise ToolError("; ".join(problems)) from cause
                case CodeQAError() | ToolError() as cause:
                    raise ToolError(" ".join(str(cause).split())) from cause
            raise


def serve_http(
    server: MCPServer, host: str, port: int, access: Access | None, allowed_hosts: Sequence[str]
) -> None:
    """Serve at `http://HOST:PORT/mcp` until Ctrl-C.

    :param port: 0 picks a free one; the address is printed on stderr.
    :param access: whose token is asked for; it must be one that clients can be configured with.
    :param allowed_hosts: names that clients address the server by, besides `host`.
    :raises TokenError: others reach the host, and nobody named a token.
    :raises PortInUseError: the port is taken, or the host is not this machine's.
    """
    from app.server import Server

    if access is not None and access.made:
        raise TokenError(
            f"whoever reaches {host} could read the index: set {TOKEN_VARIABLE} to a secret that "
            "clients send as `Authorization: Bearer …`, or leave out --host"
        )
    inner = make_app(server, [host, *allowed_hosts])
    guarded = Guard(inner, host=host, access=access, names=allowed_hosts)
    running = Server(RequestLog(guarded), host=host, port=port)
    print(f"Agents connect to {running.url}/mcp (Ctrl-C stops it)", file=sys.stderr, flush=True)
    try:
        running.wait()
    finally:
        running.close()


def make_app(server: MCPServer, hosts: Sequence[str]) -> ASGIApp:
    """Make the ASGI application that serves `/mcp`.

    :param hosts: names that it answers to; this machine's own are among them anyway.
    """
    names = [f"[{host}]" if ":" in host else host for host in hosts]
    names += ["127.0.0.1", "localhost", "[::1]"]
    return server.streamable_http_app(
        transport_security=TransportSecuritySettings(
            allowed_hosts=[form for name in names for form in (name, f"{name}:*")],
            allowed_origins=[
                f"{scheme}://{name}{port}"
                for scheme in ("http", "https")
                for name in names
                for port in ("", ":*")
            ],
        )
    )
