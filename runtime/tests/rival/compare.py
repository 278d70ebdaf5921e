"""troop and llama.cpp, one after the other on the same files: medians, ratios, and the machine's own limits.

Each round runs ours and then theirs, so that whatever else the machine does meets both. A ratio is that of
the medians; of rates above 1, of times and memory below 1 is better for troop.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

import engines
import servers

ROOT = Path(__file__).resolve().parents[3]
MODELS = [
    "target/test-model/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    "target/test-model/gemma3/gemma-3-270m-q4_k_m.gguf",
]


def main():
    parser = argparse.ArgumentParser(prog="just bench-engine", description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", type=Path, metavar="MODEL.gguf", help="the two models of the tests if none is named")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="rounds of each measurement [default: 5]")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="threads of both engines [default: 2]")
    parser.add_argument("--only", choices=["engine", "server"], help="one of the two parts")
    arguments = parser.parse_args()
    if arguments.rounds < 1 or arguments.threads < 1:
        parser.error("--rounds and --threads are 1 at least")
    models = arguments.models or [ROOT / name for name in MODELS]
    for model in models:
        if not model.is_file():
            parser.error(f"{model}: no such file; cargo test -p troop-kernels --test text fetches the models of the tests")
    everything = {"threads": arguments.threads, "rounds": arguments.rounds, "models": {}}
    for model in models:
        everything["models"][model.name] = compare(model, arguments)
    result = ROOT / "target/rival/result.json"
    result.write_text(json.dumps(everything, indent=1) + "\n")
    print(f"\nall figures: {result.relative_to(ROOT)}")


def compare(model, arguments):
    """All measurements of one model, printed as they are made."""
    print(f"\n{model.name}, {arguments.threads} threads, medians of {arguments.rounds} rounds")
    print(f"{'':34}{'troop':>12}{'llama.cpp':>12}{'ratio':>8}   least and most")
    parts = {"engine": engines.rounds, "server": servers.rounds}
    found = {}
    for name, measure in parts.items():
        if arguments.only in (None, name):
            pairs, limits = measure(model, arguments.threads, arguments.rounds)
            found |= {what: line(what, *pair) for what, pair in pairs.items()}
            if limits:
                found["limits"] = limits
                print_limits(limits)
    return found


def line(what, ours, theirs):
    """Prints one comparison and returns it."""
    our, their = statistics.median(ours), statistics.median(theirs)
    spread = f"{min(ours):.5g}..{max(ours):.5g}, {min(theirs):.5g}..{max(theirs):.5g}"
    print(f"{what:34}{our:12.5g}{their:12.5g}{our / their:8.2f}   {spread}", flush=True)
    return {"troop": ours, "llama.cpp": theirs, "ratio": our / their}


def print_limits(limits):
    reads = [limit["read_gb_s"] for limit in limits]
    print(f"limits: plain read {min(reads):.1f}..{max(reads):.1f} GB/s", end="")
    for name, unit in [("integer_tops", "TOPS of integers"), ("hop_us", "us from core to core")]:
        values = [limit[name] for limit in limits if limit[name] is not None]
        if values:
            print(f", {min(values):.2f}..{max(values):.2f} {unit}", end="")
    print()


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"{error}\n{(error.stderr or '')[-2000:]}")
