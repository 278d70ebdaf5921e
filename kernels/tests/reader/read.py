"""Asks llama.cpp, an independent reader of the same files, for its log-probabilities after each token, and
compares them with the yardstick's. Files and expectations are those of `synth --all`.

    python read.py DIRECTORY

Random weights make near-ties, so the likeliest token is no measure; the divergence of the whole distribution is.
"""

import json
import math
import pathlib
import sys

import xllamacpp

# Mean divergence per token that a format may imply: what its activations are rounded to, in llama.cpp. It
# rounds those of BF16 weights to 8 bits of fraction, and those of K formats in groups of 256.
BARS = {"F32": 1e-6, "F16": 1e-6, "BF16": 3e-5}
BAR_QUANTIZED = 1e-3
# The canonical arithmetic, of the same files.
OURS = {"F32": 1e-6, "F16": 1e-6, "BF16": 1e-6}
# Llama files with a window: llama.cpp reads the key of other architectures only, and sees everything here.
WINDOW_IGNORED = {"llama-window": 5}


def ask(server, tokens):
    """Every token's log-probability after these."""
    answer = server.handle_completions(
        {"prompt": tokens, "n_predict": 1, "n_probs": 40, "temperature": 0.0, "cache_prompt": False}
    )
    top = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    return {entry["id"]: entry["logprob"] for entry in top}


def start(path):
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx = 128
    params.n_parallel = 1
    params.warmup = False
    params.cpuparams.n_threads = 2
    params.verbosity = -1
    return xllamacpp.Server(params)


def divergence(exact, found):
    return sum(math.exp(p) * (p - found[token]) for token, p in enumerate(exact))


def main(directory):
    paths = sorted(pathlib.Path(directory).glob("*.gguf"))
    assert paths, f"no models in {directory}"
    failed = 0
    for path in paths:
        kind, form = path.stem.rsplit(".", 1)
        expected = json.loads(path.with_suffix(".json").read_text())
        count = WINDOW_IGNORED.get(kind, len(expected["tokens"]))
        server = start(path)
        theirs, ours = [], []
        for length in range(1, count + 1):
            exact = expected["yardstick"][length - 1]
            answer = ask(server, expected["tokens"][:length])
            assert sorted(answer) == list(range(len(exact))), f"{path.stem}: {len(answer)} tokens"
            theirs.append(divergence(exact, answer))
            ours.append(divergence(exact, expected["canonical"][length - 1]))
        del server
        theirs, ours = sum(theirs) / count, sum(ours) / count
        good = theirs <= BARS.get(form, BAR_QUANTIZED) and ours <= OURS.get(form, BAR_QUANTIZED)
        failed += not good
        print(f"{path.stem:24} llama.cpp {theirs:.2e}  troop {ours:.2e}{'' if good else '  TOO FAR'}", flush=True)
    print(f"{len(paths)} models, {failed} too far")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
