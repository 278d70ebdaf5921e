"""Both as servers: from the start to the first token, an idle server, and one with many clients."""

import concurrent.futures
import contextlib
import http.client
import itertools
import json
import os
import random
import socket
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from engines import ROOT, THEIRS

TROOP = ROOT / "target/release/troop"
CLIENTS = [8, 16]
LONG_WORDS = 380
WORDS = "river stone lantern winter garden silver mountain quiet harbour letter morning thunder".split()


class Server:
    """A process that answers /v1/completions at an address."""

    def __init__(self, process, address):
        self.process, self.address = process, address

    def complete(self, prompt, tokens):
        """Streams one completion; returns the seconds to its first token and to its end."""
        start = time.perf_counter()
        connection = http.client.HTTPConnection(*self.address, timeout=300)
        body = {"model": "bench", "prompt": prompt, "max_tokens": tokens, "temperature": 0, "stream": True}
        body |= {"ignore_eos": True, "cache_prompt": False}
        connection.request("POST", "/v1/completions", json.dumps(body), {"content-type": "application/json"})
        response = connection.getresponse()
        if response.status != 200:
            raise RuntimeError(f"{response.status} {response.read()[:500]}")
        first = None
        for line in response:
            if line.startswith(b"data: {") and first is None:
                if json.loads(line[6:]).get("choices"):
                    first = time.perf_counter() - start
            if line.startswith(b"data: [DONE]"):
                break
        connection.close()
        return first, time.perf_counter() - start

    def peak_bytes(self):
        """The most memory that the process and its children had, added up."""
        return sum(peak(pid) for pid in family(self.process.pid))


def family(pid):
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from family(int(child))


def peak(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


@contextlib.contextmanager
def ours(home, threads, log):
    environment = os.environ | {"TROOP_HOME": home, "TROOP_THREADS": str(threads), "TROOP_SHARE": "always"}
    note = Path(home) / "node.json"
    note.unlink(missing_ok=True)
    words = [str(TROOP), "node", "--role", "both", "--listen", "127.0.0.1:0", "--model", "bench"]
    with running(words, log, environment) as process:
        until(process, lambda: note.exists() and note.stat().st_size > 0)
        host, port = json.loads(note.read_text())["listen"].rsplit(":", 1)
        until(process, lambda: is_ready((host, int(port)), "/readyz"))
        yield Server(process, (host, int(port)))


@contextlib.contextmanager
def theirs(model, threads, slots, log):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    words = ["-m", model, "-t", threads, "-np", slots, "-c", slots * 1024, "--host", address[0], "--port", address[1]]
    words = [str(word) for word in [THEIRS / "llama-server", *words]]
    with running(words, log, os.environ) as process:
        until(process, lambda: is_ready(address, "/health"))
        yield Server(process, address)


@contextlib.contextmanager
def running(words, log, environment):
    process = subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def until(process, ready):
    end = time.monotonic() + 120
    while not ready():
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"{process.args[0]} is not ready; target/rival/servers.log says why")
        time.sleep(0.002)


def is_ready(address, path):
    try:
        connection = http.client.HTTPConnection(*address, timeout=5)
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False


def prompt(dice, words):
    """Words that no other prompt begins with, so that nobody remembers them."""
    return " ".join(dice.choice(WORDS) for _ in range(words))


def idle(server, dice):
    """Milliseconds to the first token of a short and of a long prompt on an idle server."""
    return {f"first token, {words} words, ms": server.complete(prompt(dice, words), 8)[0] * 1000 for words in (20, LONG_WORDS)}


def crowd(server, dice, clients):
    """So many clients at once, three requests each."""
    prompts = [prompt(dice, 20) for _ in range(clients * 3)]
    start = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        times = list(pool.map(lambda text: server.complete(text, 64), prompts))
    took = time.perf_counter() - start
    return {
        f"{clients} clients, tok/s": len(prompts) * 64 / took,
        f"{clients} clients, first token, ms": statistics.median(first for first, _ in times) * 1000,
    }


def measured(start, dice, clients):
    """One server's figures, from its start to its end."""
    begin = time.perf_counter()
    with start() as server:
        server.complete("Once upon a time there", 1)
        found = {"process start to first token, ms": (time.perf_counter() - begin) * 1000}
        found |= idle(server, dice)
        found |= crowd(server, dice, clients)
        found[f"{clients} clients, peak memory, MB"] = server.peak_bytes() / 1e6
    return found


def rounds(model, threads, count):
    """Every figure of both servers; each round starts them anew."""
    pairs = {}
    with tempfile.TemporaryDirectory() as home, open(ROOT / "target/rival/servers.log", "w") as log:
        pulled = [str(TROOP), "pull", "bench", "--from", f"file:{model}"]
        subprocess.run(pulled, env=os.environ | {"TROOP_HOME": home}, capture_output=True, text=True, check=True)
        for turn, clients in itertools.product(range(count), CLIENTS):
            # The same prompts for both.
            mine = measured(lambda: ours(home, threads, log), random.Random(turn * 100 + clients), clients)
            other = measured(lambda: theirs(model, threads, clients, log), random.Random(turn * 100 + clients), clients)
            for name, value in mine.items():
                pair = pairs.setdefault(name, ([], []))
                pair[0].append(value)
                pair[1].append(other[name])
    return pairs, []
