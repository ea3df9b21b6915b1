"""Ends a job of several ranks when one of them dies, fails or stands still.

A star of TCP connections beside MPI, to rank 0.  The kernel closes a process's connection when the
process ends, however it ends, and keeps asking a silent host whether it is there: nothing here
depends on what MPI does when a peer is gone, nor on a rank being free to answer.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import secrets
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from clrelion.parallel.communicator import Communicator

__all__ = ["Watch"]

_log = logging.getLogger(__name__)

_REPORT_SECONDS = 1.0
_CONNECT_SECONDS = 5.0
_KEEPALIVE = (
    (socket.TCP_KEEPIDLE, 5),
    (socket.TCP_KEEPINTVL, 3),
    (socket.TCP_KEEPCNT, 3),
    (socket.TCP_USER_TIMEOUT, 15_000),
)
"""A host that has gone is noticed after 14 seconds."""
_SIOCGIFADDR = 0x8915
_LAST_WORDS_SECONDS = 0.5
_ENDED_BY_SIGTERM = 128 + signal.SIGTERM
_GONE = "it is gone without a word (killed, or out of memory)"
_SILENT = "nothing heard of it (stopped, or its node is not answering)"


@dataclass
class _Peer:
    """What rank 0 knows of a rank."""

    rank: int
    connection: socket.socket | None = None
    buffer: bytes = b""
    step: str = "setting up"
    count: int = -1
    is_waiting: bool = False
    since: float = field(default_factory=time.monotonic)
    heard_at: float = field(default_factory=time.monotonic)

    def heard(self, step: str, count: int, is_waiting: bool) -> None:
        """Take a report; the clock starts again if anything has changed."""
        self.heard_at = time.monotonic()
        if (count, is_waiting) != (self.count, self.is_waiting):
            self.since = self.heard_at
        self.step, self.count, self.is_waiting = step, count, is_waiting


class Watch:
    """Watches the ranks of a job from a thread of its own.

    Parameters
    ----------
    comm
        Ranks; their communicator is used while the watch is set up, and no later.
    stall_seconds
        A rank that makes no progress for so long ends the job; None: any time is allowed.
    on_end
        Called on each rank before the job is ended; it must not use MPI.
    program
        Name for messages.
    """

    def __init__(
        self,
        comm: Communicator,
        stall_seconds: float | None,
        on_end: Callable[[], None],
        program: str,
    ) -> None:
        self._comm = comm
        self._stall_seconds = stall_seconds
        self._on_end = on_end
        self._program = program
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._server: socket.socket | None = None
        self._to_first: socket.socket | None = None
        self._peers: dict[int, _Peer] = {}
        if comm.size > 1:
            self._signals = _signals_as_socket()
            self._connect()

    def _connect(self) -> None:
        """Connect all ranks to rank 0; its addresses travel by MPI."""
        comm = self._comm
        token = ""
        if comm.is_first:
            token = secrets.token_hex(16)
            self._server = socket.create_server(("", 0), backlog=max(128, comm.size))
            self._peers = {rank: _Peer(rank) for rank in range(comm.size)}
        port = 0 if self._server is None else self._server.getsockname()[1]
        port, token, addresses = comm.bcast((port, token, _own_addresses()))
        if comm.is_first:
            accepting = threading.Thread(target=self._accept, args=(token,), daemon=True)
            accepting.start()
        else:
            self._to_first = _reach(addresses, port, token, comm.rank)
        connected = comm.allgather(comm.is_first or self._to_first is not None)
        if comm.is_first:
            accepting.join(_CONNECT_SECONDS)
            for rank, is_connected in enumerate(connected):
                if not is_connected:
                    del self._peers[rank]
                    _log.warning(
                        "%s cannot reach rank 0 over TCP: if it is killed, the launcher alone can "
                        "end the job",
                        comm.where(rank),
                    )
            target = self._watch_all
        else:
            target = self._watch_first
        threading.Thread(target=target, name="watch", daemon=True).start()

    def _accept(self, token: str) -> None:
        """Take the connections of the other ranks, until all are here or it takes too long."""
        assert self._server is not None
        deadline = time.monotonic() + 4 * _CONNECT_SECONDS
        self._server.settimeout(0.5)
        while time.monotonic() < deadline and any(
            peer.connection is None for rank, peer in self._peers.items() if rank
        ):
            try:
                connection, _ = self._server.accept()
                connection.settimeout(_CONNECT_SECONDS)
                greeting = json.loads(_read_line(connection))
                if greeting.get("token") != token:
                    connection.close()
                    continue
                _keep_alive(connection)
                connection.sendall(b'{"welcome": true}\n')
                self._peers[int(greeting["rank"])].connection = connection
            except (OSError, ValueError, KeyError, AttributeError):
                continue

    def _watch_all(self) -> None:
        """Rank 0: look after all ranks."""
        told_at = 0.0
        while not self._closing.is_set():
            open_peers = {p.connection: p for p in self._peers.values() if p.connection}
            for connection in self._ready(list(open_peers)):
                self._hear(open_peers[connection])
            own = self._comm.activity
            self._peers[0].heard(own.step, own.count, own.is_waiting)
            if time.monotonic() - told_at > _REPORT_SECONDS:
                told_at = time.monotonic()
                self._tell_all(b"{}\n")
                self._find_stalled()

    def _ready(self, connections: list[socket.socket]) -> list[socket.socket]:
        """Wait until something is to be read, for a second at most.

        The launcher ends all ranks when one is gone, and this one may get to know of that first:
        then there is half a second to hear which one it was.
        """
        signals = self._signals
        ready, _, _ = select.select([*connections, signals], [], [], _REPORT_SECONDS)
        if signals in ready:
            ready.remove(signals)
            if signal.SIGTERM in signals.recv(64):
                ready, _, _ = select.select(connections, [], [], _LAST_WORDS_SECONDS)
                if not ready:
                    os._exit(_ENDED_BY_SIGTERM)
        return ready

    def _hear(self, peer: _Peer) -> None:
        """Read what a rank has to say; the end of its connection without a word is its death."""
        assert peer.connection is not None
        where = self._comm.where(peer.rank)
        try:
            data = peer.connection.recv(65536)
        except ConnectionResetError:
            data, cause = b"", _GONE
        except OSError as error:
            data = b""
            cause = f"its host does not answer ({error.strerror or error})"
        else:
            cause = _GONE
        if not data:
            peer.connection = None
            self.end(f"{where}: {cause}")
            return
        *lines, peer.buffer = (peer.buffer + data).split(b"\n")
        for line in lines:
            said = json.loads(line)
            if said.get("bye"):
                peer.connection = None
                peer.is_waiting, peer.since, peer.heard_at = True, float("inf"), float("inf")
            elif "failed" in said:
                peer.connection = None
                self.end(f"{where}: {said['failed']}", is_known=True)
            else:
                peer.heard(said["step"], said["count"], said["waiting"])

    def _find_stalled(self) -> None:
        limit = self._stall_seconds
        if limit is None:
            return
        now = time.monotonic()
        for peer in self._peers.values():
            if now - peer.heard_at > limit:
                self.end(f"{self._comm.where(peer.rank)}: {_SILENT} for {limit:g} s")
                return
        late = [peer for peer in self._peers.values() if now - peer.since > limit]
        working = [peer for peer in late if not peer.is_waiting]
        for peer in working:
            self.end(
                f"{self._comm.where(peer.rank)}: no progress for {limit:g} s in {peer.step}; look "
                "at its device, its driver and its file system, or give a longer --stall_timeout"
            )
            return
        if len(late) == len(self._peers) > 0:
            ranks = ", ".join(f"rank {p.rank} in {p.step}" for p in late)
            self.end(f"all ranks have waited for each other for {limit:g} s ({ranks})")

    def _watch_first(self) -> None:
        """Other ranks: report to rank 0 and see that it lives."""
        connections = [] if self._to_first is None else [self._to_first]
        first = self._comm.where(0)
        heard_at, told_at = time.monotonic(), 0.0
        while not self._closing.is_set():
            try:
                if time.monotonic() - told_at > _REPORT_SECONDS:
                    told_at = time.monotonic()
                    self._report_to_first()
                ready = self._ready(connections)
                data = ready[0].recv(65536) if ready else None
            except (ConnectionResetError, BrokenPipeError):
                data = b""
            except (OSError, ValueError) as error:
                self.end(f"{first}: its host does not answer ({error})")
                return
            if data is None:
                limit = self._stall_seconds
                is_late = limit is not None and time.monotonic() - heard_at > limit
                if connections and is_late:
                    self.end(f"{first}: {_SILENT} for {limit:g} s")
                continue
            heard_at = time.monotonic()
            if b"bye" in data:
                return
            if b"end" in data:
                self.end("", is_known=True)
            if not data:
                self.end(f"{first}: {_GONE}")

    def _report_to_first(self) -> None:
        activity = self._comm.activity
        report = {"step": activity.step, "count": activity.count, "waiting": activity.is_waiting}
        with self._lock:
            if not self._closing.is_set() and self._to_first is not None:
                self._to_first.sendall(json.dumps(report).encode() + b"\n")

    def fail(self, cause: str) -> None:
        """Tell the others why this rank fails; its own message has been printed."""
        self._closing.set()
        self._tell_all(b'{"end": true}\n')
        if self._to_first is not None:
            with self._lock, contextlib.suppress(OSError):
                self._to_first.sendall(json.dumps({"failed": cause}).encode() + b"\n")

    def _tell_all(self, line: bytes) -> None:
        """Rank 0: send a line to all others that can still hear it."""
        for peer in self._peers.values():
            if peer.connection is not None:
                with contextlib.suppress(OSError):
                    peer.connection.sendall(line)

    def end(self, message: str, is_known: bool = False) -> None:
        """End the job.

        Parameters
        ----------
        message
            Which rank, where, and why.
        is_known
            Somebody has printed it.
        """
        if self._closing.is_set():
            return
        self._closing.set()
        if not is_known:
            sys.stderr.write(f"{self._program}: {message}\n")
            sys.stderr.flush()
        self._tell_all(b'{"end": true}\n')
        self._on_end()
        self._comm.abort(1)

    def close(self) -> None:
        """Stop watching; the job ends well."""
        with self._lock:
            self._closing.set()
            self._tell_all(b'{"bye": true}\n')
            if self._to_first is not None:
                with contextlib.suppress(OSError):
                    self._to_first.sendall(b'{"bye": true}\n')
        if self._comm.size > 1:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _signals_as_socket() -> socket.socket:
    """Turn SIGTERM into something that a thread can wait for."""
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    signal.set_wakeup_fd(sender.detach(), warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, lambda *_: None)
    return receiver


def _read_line(connection: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte or len(line) > 1000:
            raise OSError("no line")
        line += byte
    return line


def _keep_alive(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for name, value in _KEEPALIVE:
        connection.setsockopt(socket.IPPROTO_TCP, name, value)


def _reach(addresses: list[str], port: int, token: str, rank: int) -> socket.socket | None:
    """Connect to rank 0 by the first of its addresses that leads to it."""
    greeting = json.dumps({"token": token, "rank": rank}).encode() + b"\n"
    for address in addresses:
        try:
            connection = socket.create_connection((address, port), _CONNECT_SECONDS)
            connection.sendall(greeting)
            welcome: dict[str, Any] = json.loads(_read_line(connection))
        except (OSError, ValueError):
            continue
        if welcome.get("welcome"):
            connection.settimeout(None)
            _keep_alive(connection)
            return connection
    return None


def _own_addresses() -> list[str]:
    """IPv4 addresses of this host's interfaces, the loopback last."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
            except OSError:
                continue  # no address
            found.append(socket.inet_ntoa(answer[20:24]))
    return sorted(found, key=lambda address: address.startswith("127."))
