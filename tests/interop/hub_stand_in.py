"""A small Hugging Face Hub on this machine: repositories in memory, the endpoints that up- and downloading a network use.

It takes every file as a regular one. The Hub takes large ones through its Xet storage, which huggingface_hub speaks with by
itself.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlparse

TOKEN = "hf_stand_in"  # noqa: S105


@dataclass
class Repository:
    """Branches are names of commits, commits are trees of file contents."""

    private: bool = False
    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def commit(self, branch: str, files: dict[str, bytes], message: str = "") -> str:
        tree = dict(self.commits.get(self.branches.get(branch, ""), {})) | files
        sha = hashlib.sha1(repr((len(self.commits), sorted(tree))).encode()).hexdigest()  # noqa: S324
        self.commits[sha], self.branches[branch] = tree, sha
        self.messages.append(message)
        return sha


class StandIn:
    """The server's state."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[tuple[str, str, str | None]] = []
        self.url = ""

    def answer(
        self, method: str, path: str, body: bytes, token: str | None
    ) -> tuple[int, Any, dict[str, str]]:
        self.requests.append((method, path, token))
        for pattern, verb, handler in _ROUTES:
            match = re.fullmatch(pattern, path)
            if match and method in verb:
                return handler(self, [unquote(g) for g in match.groups()], body, token)
        return 404, {"error": f"no endpoint {method} {path}"}, {}

    def repository(self, name: str, token: str | None) -> Repository | None:
        found = self.repositories.get(name)
        return None if found is None or (found.private and token != TOKEN) else found


Answer = tuple[int, Any, dict[str, str]]
MISSING: Answer = (404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
NO_REVISION: Answer = (404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"})


def _tree(hub: StandIn, name: str, revision: str, token: str | None) -> tuple[str, dict[str, bytes]] | Answer:
    repository = hub.repository(name, token)
    if repository is None:
        return MISSING
    sha = repository.branches.get(revision, revision)
    return (sha, repository.commits[sha]) if sha in repository.commits else NO_REVISION


def _info(hub: StandIn, g: list[str], body: bytes, token: str | None) -> Answer:
    found = _tree(hub, g[0], g[1], token)
    if len(found) == 3:
        return found
    sha, tree = found
    return 200, {"id": g[0], "sha": sha, "siblings": [{"rfilename": n} for n in tree], "private": False}, {}


def _blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()  # noqa: S324


def _list(hub: StandIn, g: list[str], body: bytes, token: str | None) -> Answer:
    found = _tree(hub, g[0], g[1], token)
    if len(found) == 3:
        return found
    files = [
        {"type": "file", "path": n, "size": len(c), "oid": _blob(c)} for n, c in sorted(found[1].items())
    ]
    return 200, files, {}


def _resolve(hub: StandIn, g: list[str], body: bytes, token: str | None) -> Answer:
    found = _tree(hub, g[0], g[1], token)
    if len(found) == 3:
        return found
    sha, tree = found
    if g[2] not in tree:
        return 404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"}
    return 200, tree[g[2]], {"X-Repo-Commit": sha, "ETag": f'"{_blob(tree[g[2]])}"'}


def _create(hub: StandIn, g: list[str], body: bytes, token: str | None) -> Answer:
    if token != TOKEN:
        return 401, {"error": "Invalid credentials"}, {}
    request = json.loads(body)
    name = f"{request['organization']}/{request['name']}" if request.get("organization") else request["name"]
    if name in hub.repositories:
        return 409, {"error": "You already created this model repo", "url": f"{hub.url}/{name}"}, {}
    hub.repositories[name] = Repository(
        bool(request.get("private")) or request.get("visibility") == "private"
    )
    hub.repositories[name].commit("main", {".gitattributes": b""})
    return 200, {"url": f"{hub.url}/{name}", "name": name}, {}


def _branch(hub: StandIn, g: list[str], body: bytes, token: str | None) -> Answer:
    repository = hub.repository(g[0], token)
    if repository is None or token != TOKEN:
        return MISSING
    if g[1] in repository.branches:
        return 409, {"error": "Reference already exists"}, {}
    repository.branches[g[1]] = repository.branches["main"]
    return 200, {}, {}


def _preupload(hub: StandIn, g: list[str], body: bytes, token: str | None) -> Answer:
    files = [
        {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(body)["files"]
    ]
    return 200, {"files": files}, {}


def _commit(hub: StandIn, g: list[str], body: bytes, token: str | None) -> Answer:
    repository = hub.repository(g[0], token)
    if repository is None or token != TOKEN:
        return MISSING
    files, message = {}, ""
    for line in map(json.loads, body.splitlines()):
        value = line["value"]
        if line["key"] == "header":
            message = value["summary"]
        elif line["key"] == "file":
            files[value["path"]] = base64.b64decode(value["content"])
    sha = repository.commit(g[1], files, message)
    return 200, {"success": True, "commitOid": sha, "commitUrl": f"{hub.url}/{g[0]}/commit/{sha}"}, {}


def _validate(hub: StandIn, g: list[str], body: bytes, token: str | None) -> Answer:
    return 200, {"errors": [], "warnings": []}, {}


_NAME = r"([^/]+/[^/]+)"
_ROUTES: list[tuple[str, tuple[str, ...], Callable[..., Answer]]] = [
    (rf"/api/models/{_NAME}/revision/([^/]+)", ("GET",), _info),
    (rf"/api/models/{_NAME}/tree/([^/]+)", ("GET",), _list),
    (rf"/{_NAME}/resolve/([^/]+)/(.+)", ("GET", "HEAD"), _resolve),
    (r"/api/repos/create", ("POST",), _create),
    (rf"/api/models/{_NAME}/branch/([^/]+)", ("POST",), _branch),
    (rf"/api/models/{_NAME}/preupload/([^/]+)", ("POST",), _preupload),
    (rf"/api/models/{_NAME}/commit/([^/]+)", ("POST",), _commit),
    (r"/api/validate-yaml", ("POST",), _validate),
]


@contextmanager
def running() -> Iterator[StandIn]:
    """The stand-in, served on a free port of this machine."""
    hub = StandIn()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
            status, content, headers = hub.answer(self.command, urlparse(self.path).path, body, token)
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_GET = do_HEAD = do_POST = handle_any  # noqa: N815 - the names that http.server calls

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
