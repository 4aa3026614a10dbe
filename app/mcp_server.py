"""`codeqa mcp`: the tools of `app.mcp_tools` over the Model Context Protocol.

Over standard input and output by default, where nothing but the protocol is written to stdout; or
over HTTP. HTTP answers this machine alone, unless a host is named and a token set. Whoever asks
must address the server by a name it knows: a web page that a browser was lured to cannot.
"""

import argparse
import hmac
import importlib.metadata
import inspect
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.transport_security import TransportSecuritySettings
from mcp.types import CallToolResult, InputRequiredResult, ToolAnnotations
from pydantic import ValidationError
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api_guard import is_loopback
from app.mcp_tools import CodeTools
from data_tools.errors import CodeQAError, PortInUseError
from retrieval.index import CodeIndex

if TYPE_CHECKING:
    from starlette.applications import Starlette

TOKEN = "CODEQA_TOKEN"  # the environment variable


def run_mcp(options: argparse.Namespace) -> None:
    """Serve an index to coding agents until they close the connection, or Ctrl-C."""
    from app.llm import open_chat_model

    with CodeIndex.open(options.index) as index:
        chat = open_chat_model(options.llm, model=options.model, timeout_s=options.timeout)
        server = make_server(CodeTools(index, chat))
        if options.http:
            serve_http(server, options.host, options.port, allowed_hosts=options.allow_host)
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
    server: MCPServer, host: str, port: int, *, allowed_hosts: Sequence[str] = ()
) -> None:
    """Serve at `http://HOST:PORT/mcp` until Ctrl-C; where a token is set, it is asked for.

    :param port: 0 picks a free one; the address is printed on stderr.
    :param allowed_hosts: names that clients address the server by, besides `host`.
    :raises PortInUseError: the port is taken, or the host is not this machine's, or it can be
        reached from others and there is no token.
    """
    from app.server import Server

    token = os.environ.get(TOKEN, "")
    if not token and not is_loopback(host):
        raise PortInUseError(
            f"whoever reaches {host} could read the index: set {TOKEN} to a secret that clients "
            "send as `Authorization: Bearer …`, or leave out --host"
        )
    running = Server(make_app(server, [host, *allowed_hosts], token), host=host, port=port)
    print(f"Agents connect to {running.url}/mcp (Ctrl-C stops it)", file=sys.stderr, flush=True)
    try:
        running.wait()
    finally:
        running.close()


def make_app(server: MCPServer, hosts: Sequence[str], token: str) -> ASGIApp:
    """Make the ASGI application that serves `/mcp`.

    :param hosts: names that it answers to; this machine's own are among them anyway.
    :param token: what clients must send; empty for none.
    """
    names = [f"[{host}]" if ":" in host else host for host in hosts]
    names += ["127.0.0.1", "localhost", "[::1]"]
    app: Starlette = server.streamable_http_app(
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
    return _BearerToken(app, token) if token else app


class _BearerToken:
    """Answers 401 to whoever does not send the token."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sent = dict(scope.get("headers", ())).get(b"authorization", b"")
        if scope["type"] == "http" and not hmac.compare_digest(sent, self._expected):
            refusal = JSONResponse(
                {"error": f"send the server's {TOKEN} as `Authorization: Bearer …`"},
                status_code=401,
                headers={"WWW-Authenticate": "Bearer"},
            )
            await refusal(scope, receive, send)
        else:
            await self._app(scope, receive, send)
