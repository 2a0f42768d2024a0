#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Serves a folder to real clients, and shows what came of it. Called by ./dev demo.

    demo.py PROGRAM DIR [SECONDS]

1  curl fetches every file, and the bytes are compared.
2  wrk asks for one file as fast as it can, on 1, 64 and 512 connections, SECONDS (3) each.
3  Each server is stopped by SIGINT, and must have ended every task and closed every descriptor.

Exits with 0 when all of that held. All traffic stays on the loopback interface.
"""
import collections
import filecmp
import json
import os
import pathlib
import platform
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse

CONNECTIONS = (1, 64, 512)
FILES_MAX = 10_000
PATIENCE = 60  # seconds, for whatever should come at once

Load = collections.namedtuple("Load", "connections_count rate p50 p99 cpu_us calls")
failures = []


def say(text=""):
    print(text, flush=True)


def check(held, text):
    say(f"  {'ok' if held else 'FAILED':8}{text}")
    if not held:
        failures.append(text)


class Server:
    """One run of the program."""

    def __init__(self, program, folder):
        self.process = subprocess.Popen([program, folder, "--port", "0"], stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        listening = re.fullmatch(r"listening on (127\.0\.0\.1:\d+)\n", line)
        if not listening:
            sys.exit(f"demo: the server did not start: {line!r}")
        self.url = f"http://{listening[1]}/"

    def cpu_seconds(self):
        """What all of its threads have used, the kernel's workers among them."""
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        """Ctrl-C. Returns the exit status and the statistics, None when there are none."""
        self.process.send_signal(signal.SIGINT)
        try:
            output, _ = self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            output, _ = self.process.communicate()
        found = re.search(r"^statistics: (\{.*\})$", output, re.MULTILINE)
        return self.process.returncode, json.loads(found[1]) if found else None


def files_below(folder):
    """Regular files, as paths relative to the folder. Links are left out: some lead where the server does not go."""
    found = []
    for path, _, names in os.walk(folder):
        for name in sorted(names):
            file = pathlib.Path(path, name)
            if file.is_file() and not file.is_symlink() and os.access(file, os.R_OK):
                found.append(file.relative_to(folder))
                if len(found) == FILES_MAX:
                    return found
    return found


def quoted(text):
    """A value in a configuration file of curl."""
    return '"' + str(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def fetch(server, folder, files):
    """Fetches files with one curl; returns those that came out different."""
    with tempfile.TemporaryDirectory() as fetched:
        lines = []
        for number, file in enumerate(files):
            lines.append("url = " + quoted(server.url + urllib.parse.quote(str(file))))
            lines.append("output = " + quoted(pathlib.Path(fetched, str(number))))
        # Its standard error would hold a progress meter too, which --silent does not silence where it is parallel.
        subprocess.run(["curl", "--silent", "--fail", "--path-as-is", "--parallel", "--config", "-"],
                       input="\n".join(lines), stderr=subprocess.DEVNULL, text=True, check=False, timeout=10 * PATIENCE)
        copies = (pathlib.Path(fetched, str(number)) for number in range(len(files)))
        return [file for file, copy in zip(files, copies) if not same(folder / file, copy)]


def same(file, copy):
    if not copy.exists():  # curl makes no file for an empty body
        return file.stat().st_size == 0
    return filecmp.cmp(file, copy, shallow=False)


def stop_and_check(server, what):
    status, statistics = server.stop()
    check(status == 0, f"{what}: SIGINT, exit status {status}" + ("" if status else ": every task has ended"))
    if statistics is None:
        check(False, f"{what}: no statistics")
        return None
    left = statistics["descriptors_left"]
    check(left == 0, f"{what}: {statistics['connections']} connections, {left} descriptors left open")
    return statistics


def compare_files(program, folder, files):
    size = sum((folder / file).stat().st_size for file in files)
    server = Server(program, folder)
    different = []
    for begin in range(0, len(files), 256):
        different += fetch(server, folder, files[begin:begin + 256])
    check(not different, f"{len(files)} files, {size:,} bytes" +
          (f": {len(different)} differ, {different[0]} among them" if different else ": all the same"))
    stop_and_check(server, "curl")


def load(program, folder, file, connections_count, seconds):
    """Has wrk ask for the file; returns what the table shows."""
    server = Server(program, folder)
    before = server.cpu_seconds()
    drive = ["wrk", "--threads", "1", "--connections", str(connections_count), "--duration", f"{seconds}s", "--latency",
             server.url + urllib.parse.quote(str(file))]
    output = subprocess.run(drive, capture_output=True, text=True, check=False, timeout=seconds + PATIENCE).stdout
    cpu = server.cpu_seconds() - before

    what = f"{connections_count} connection" + ("s" if connections_count > 1 else "")
    complaints = re.findall(r"Socket errors: .*|Non-2xx .*", output)
    check(not complaints, f"{what}: " + ("; ".join(complaints) or "every request was answered with the file"))
    statistics = stop_and_check(server, what)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    latencies = dict(re.findall(r"^\s+(50|99)%\s+(\S+)", output, re.MULTILINE))
    if not (statistics and statistics["requests"] and rate and len(latencies) == 2):
        check(False, f"{what}: wrk could not measure:\n{output}")
        return None
    requests = statistics["requests"]
    return Load(connections_count, float(rate[1]), latencies["50"], latencies["99"], cpu / requests * 1e6,
                calls_made(statistics) / requests)


def calls_made(statistics):
    """The executor's own count, and what the server calls directly: statx and close a file, five a connection."""
    ring = statistics["enters"] + statistics["parks"] + statistics["wakes"]
    return ring + 2 * statistics["files"] + 5 * statistics["connections"]


def print_table(rows):
    titles = ("connections", "requests/s", "p50", "p99", "CPU/request", "system calls/request")
    say("  " + "  ".join(f"{title:>12}" for title in titles))
    for row in rows:
        cells = (row.connections_count, f"{row.rate:,.0f}", row.p50, row.p99, f"{row.cpu_us:.1f} us",
                 f"{row.calls:.2f}")
        say("  " + "  ".join(f"{cell:>{max(12, len(title))}}" for cell, title in zip(cells, titles)))


def file_to_ask_for(folder, files):
    """One of middle size: what such a folder is mostly asked for."""
    return sorted(files, key=lambda file: ((folder / file).stat().st_size, str(file)))[len(files) // 2]


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    program, folder = os.path.abspath(sys.argv[1]), pathlib.Path(sys.argv[2])
    seconds = int(sys.argv[3]) if len(sys.argv) == 4 else 3
    for tool in ("curl", "wrk"):
        if not shutil.which(tool):
            sys.exit(f"demo: there is no {tool}; ./dev setup installs it")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)) if hard > 0 else soft, hard))
    files = files_below(folder)
    if not files:
        sys.exit(f"demo: {folder} has no files")

    began = time.monotonic()
    say(f"gyre's HTTP file server, on Linux {platform.release()} with {len(os.sched_getaffinity(0))} processors")
    say(f"\n{folder}: every file, as curl gets it")
    compare_files(program, folder, files)

    wanted = file_to_ask_for(folder, files)
    say(f"\n{wanted}, {(folder / wanted).stat().st_size:,} bytes: as often as wrk can ask, {seconds} s each")
    rows = [load(program, folder, wanted, count, seconds) for count in CONNECTIONS]
    say()
    print_table([row for row in rows if row])
    say("""
  One executor, one thread; wrk runs on the same machine. CPU is the server's, user and system, all threads.
  System calls: io_uring_enter and the sleeps, as the executor counts them, and those made directly beside it.""")

    if failures:
        say(f"\n{len(failures)} of this did not hold:\n  " + "\n  ".join(failures))
        sys.exit(1)
    say(f"\nAll of this held, in {time.monotonic() - began:.0f} s. Now yourself: ./dev serve {folder}")


if __name__ == "__main__":
    main()
