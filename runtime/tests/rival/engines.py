"""The two engines alone: prefill, decode at some depths, batches."""

import json
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
OURS = ROOT / "target/release/examples/bench"
THEIRS = ROOT / "target/rival/build/bin"
# Their CPU backend with rows split evenly among threads.
SPLIT = ROOT / "target/rival/split"


def text(words, environment):
    """What a program prints; a failure is an error with what it said."""
    words = [str(word) for word in words]
    environment = os.environ | environment
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    return done.stdout


def objects(words, environment=None):
    """The JSON objects that a program prints, one a line."""
    return [json.loads(line) for line in text(words, environment or {}).splitlines() if line.startswith("{")]


def ours(model, threads):
    return objects([OURS, model, threads, "--json"])[0]


def single(model, threads):
    return [THEIRS / "llama-bench", "-m", model, "-t", threads, "-r", 1, "-o", "jsonl"]


def theirs(model, threads):
    rates = {}
    for one in objects([*single(model, threads), "-p", "128,512,2048", "-n", 0]):
        rates[f"prefill {one['n_prompt']}"] = one["avg_ts"]
    rates |= decode(model, threads, {})
    batched = [THEIRS / "llama-batched-bench", "-m", model, "-t", threads, "-c", 4096, "-b", 2048, "-ub", 512]
    for one in objects([*batched, "-npp", 1, "-ntg", 32, "-npl", "1,4,8,16", "--output-format", "jsonl"]):
        rates[f"batch {one['pl']}"] = one["speed_tg"]
    return rates


def decode(model, threads, environment):
    found = objects([*single(model, threads), "-p", 0, "-n", 64, "-d", "0,512,2048"], environment)
    return {f"decode at {one['n_depth']}": one["avg_ts"] for one in found}


def rounds(model, threads, count):
    """Rates in tokens per second, and the limits that were measured beside them."""
    pairs, limits = {}, []
    for _ in range(count):
        mine, other = ours(model, threads), theirs(model, threads)
        for name, rate in decode(model, threads, {"LD_LIBRARY_PATH": str(SPLIT)}).items():
            name = f"{name} beside rows split"
            mine["measures"][name], other[name] = mine["measures"][name.partition(" beside")[0]], rate
        limits += mine["limits"]
        for name, rate in mine["measures"].items():
            pair = pairs.setdefault(f"{name}, tok/s", ([], []))
            pair[0].append(rate)
            pair[1].append(other[name])
    return pairs, limits
