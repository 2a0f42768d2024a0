# SPDX-License-Identifier: MIT
"""Starts and stops example programs that listen, and other people's: for the scripts that try ours from outside.

A test is a unittest case whose docstring is the fact that it shows. Timeouts are generous, and only for what hangs.
"""
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import unittest

PATIENCE = 20  # seconds, for anything that should come soon


class Program:
    """One of ours that says `listening on ADDRESS:PORT`, on a port of its own choice."""

    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        found = re.fullmatch(r"listening on (?:127\.0\.0\.1|0\.0\.0\.0|10\.\d+\.\d+\.\d+):(\d+)\n", line)
        assert found, f"it said {line!r}"
        self.port = int(found[1])
        self.sockets_before = self.sockets_count()

    def connect(self, receive_bytes=None):
        made = socket.socket()
        made.settimeout(PATIENCE)
        if receive_bytes:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        made.connect(("127.0.0.1", self.port))
        return made

    def sockets_count(self):
        """Open sockets. Of other descriptors it may keep some: pipes for the next relay, what the resolver has open."""
        folder = f"/proc/{self.process.pid}/fd"
        count = 0
        for each in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):
                count += os.readlink(f"{folder}/{each}").startswith("socket:")
        return count

    def has_closed_all(self):
        until(lambda: self.sockets_count() <= self.sockets_before, "connections to be closed")

    def stop(self, number=signal.SIGINT):
        """Asks it to stop; returns its exit status and what it said on standard error."""
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, said

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


class Echo:
    """Sends back what comes, on a thread for each connection, and keeps the half-closed way: end for end."""

    def __init__(self):
        # Where the backlog runs over, Linux loses what those have sent who ended at once: with a proxy, and without.
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.echo, args=(client,), daemon=True).start()

    def echo(self, client):
        with client:
            try:
                while data := client.recv(1 << 16):
                    client.sendall(data)
            except OSError:
                pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(PATIENCE)


def read_to_end(connection):
    pieces = []
    while data := connection.recv(1 << 16):
        pieces.append(data)
    return b"".join(pieces)


def reset(connection):
    """Leaves without a goodbye: the other side gets a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


def needs(*names):
    """Skips the test, or the class, where one of these programs is missing; says which."""
    missing = [name for name in names if not shutil.which(name)]
    return unittest.skipIf(missing, f"not installed: {', '.join(missing)}")


def until(condition, what):
    """Waits for what comes soon."""
    waited = threading.Event()
    for _ in range(PATIENCE * 20):
        if condition():
            return
        waited.wait(0.05)
    raise AssertionError(f"waited in vain: {what}")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as held:
        return held.getsockname()[1]


def until_listening(port, what):
    """Looks without connecting: some servers take one client and no more."""
    def listens():
        with open("/proc/net/tcp", encoding="ascii") as table:
            return any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in table)
    until(listens, f"{what} to listen")


def output_of(*command, **options):
    """What a program that must end well has said."""
    ended = subprocess.run(command, capture_output=True, timeout=PATIENCE, **options)
    assert ended.returncode == 0, f"{command}: {ended.returncode}, {ended.stderr!r}"
    return ended.stdout


def main(arguments_count):
    """Runs the cases of the script; what precedes them on the command line are programs."""
    if len(sys.argv) <= arguments_count:
        sys.exit(sys.modules["__main__"].__doc__)
    result = unittest.main(argv=[sys.argv[0], *sys.argv[arguments_count + 1:]], verbosity=2, exit=False).result
    nothing_ran = result.wasSuccessful() and result.skipped and len(result.skipped) >= result.testsRun
    sys.exit(77 if nothing_ran else not result.wasSuccessful())
