"""Completes prompts and makes vectors through the official `openai` client, on a live node.

Wants TROOP_BASE_URL (or the first argument), as in http://127.0.0.1:9000/v1, of a node that serves SmolLM2.
Prints a line for each check, and "N passed, N failed" at the end; the exit code says the same.
"""

import base64
import json
import math
import os
import struct
import sys
import time
import urllib.error
import urllib.request

import openai

BASE_URL = sys.argv[1] if len(sys.argv) > 1 else os.environ["TROOP_BASE_URL"]
MODEL = os.environ.get("TROOP_MODEL", "smollm2")
CAPITAL = "The capital of France is"

client = openai.OpenAI(base_url=BASE_URL, api_key="troop", max_retries=0, timeout=120)
checks = []


def check(function):
    checks.append(function)
    return function


def complete(prompt=CAPITAL, **more):
    more = {"model": MODEL, "max_tokens": 8, "temperature": 0, **more}
    return client.completions.create(prompt=prompt, **more)


def embed(given, **more):
    return client.embeddings.create(**{"model": MODEL, "input": given, **more})


def post(path, body):
    """One request without any client's help: its status and its JSON."""
    request = urllib.request.Request(
        BASE_URL.removesuffix("/v1") + path,
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "Authorization": "Bearer troop"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def bad(param, call, code=None):
    try:
        call()
    except openai.BadRequestError as error:
        assert set(error.body) == {"message", "type", "param", "code"}, error.body
        assert (error.body["param"], error.body["code"]) == (param, code), error.body
        return error.body["message"]
    raise AssertionError(f"nothing was raised for {param}")


@check
def a_completion_has_every_field():
    answer = complete()
    choice = answer.choices[0]
    assert answer.id.startswith("cmpl-") and answer.object == "text_completion"
    assert answer.model == MODEL and abs(answer.created - time.time()) < 300
    assert choice.index == 0 and choice.text.startswith(" Paris") and choice.logprobs is None
    assert choice.finish_reason in ("stop", "length")
    usage = answer.usage
    assert usage.prompt_tokens == 5 and usage.completion_tokens == 8 and usage.total_tokens == 13
    assert complete(max_tokens=openai.NOT_GIVEN).usage.completion_tokens == 16, "as usual"


@check
def a_stream_joins_to_the_whole_text():
    whole = complete()
    more = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = list(complete(**more))
    assert all(chunk.object == "text_completion" for chunk in chunks)
    assert chunks[-1].choices == [] and chunks[-1].usage.to_dict() == whole.usage.to_dict()
    assert "".join(c.choices[0].text for c in chunks[:-1]) == whole.choices[0].text
    reasons = [chunk.choices[0].finish_reason for chunk in chunks[:-1]]
    assert reasons[:-1] == [None] * (len(reasons) - 1)
    assert reasons[-1] == whole.choices[0].finish_reason


@check
def several_prompts_are_answered_in_their_order():
    prompts = [CAPITAL, "One, two, three,", "def add(a, b):"]
    alone = [complete(prompt).choices[0].text for prompt in prompts]
    together = complete(prompts)
    assert [choice.text for choice in together.choices] == alone
    assert [choice.index for choice in together.choices] == [0, 1, 2]
    assert together.usage.completion_tokens == 24
    pairs = complete(prompts, n=2, temperature=1, seed=3)
    assert [choice.index for choice in pairs.choices] == list(range(6))
    for place, prompt in enumerate(prompts):
        own = complete(prompt, n=2, temperature=1, seed=3).choices
        assert [choice.text for choice in own] == [
            choice.text for choice in pairs.choices[2 * place : 2 * place + 2]
        ]
    texts = [""] * 6
    for chunk in complete(prompts, n=2, temperature=1, seed=3, stream=True):
        texts[chunk.choices[0].index] += chunk.choices[0].text
    assert texts == [choice.text for choice in pairs.choices]
    many = complete(["a"] * 20, max_tokens=1)
    assert len({choice.text for choice in many.choices}) == 1 and len(many.choices) == 20


@check
def token_ids_are_a_prompt_as_good_as_text():
    status, body = post("/tokenize", {"content": CAPITAL, "add_special": True})
    assert status == 200, body
    ids = body["tokens"]
    assert complete(ids).choices[0].text == complete().choices[0].text
    both = complete([ids, ids[:-1]])
    assert both.choices[0].text == complete().choices[0].text and both.usage.prompt_tokens == 9
    assert complete(ids, echo=True).choices[0].text.startswith(CAPITAL)
    bad("prompt", lambda: complete([1 << 30]))


@check
def odds_come_in_the_older_shape_and_an_echo_has_those_of_the_prompt():
    plain = complete().choices[0].text
    told = complete(logprobs=2).choices[0]
    logprobs = told.logprobs
    assert told.text == plain and "".join(logprobs.tokens) == plain
    assert all(2 <= len(top) <= 3 for top in logprobs.top_logprobs)
    assert logprobs.text_offset[0] == 0 and len(logprobs.text_offset) == 8
    echoed = complete(echo=True, logprobs=2)
    choice = echoed.choices[0]
    whole = choice.logprobs
    assert choice.text == CAPITAL + plain and "".join(whole.tokens) == choice.text
    assert whole.token_logprobs[0] is None and whole.top_logprobs[0] is None
    assert all(value < 0 for value in whole.token_logprobs[1:])
    assert whole.token_logprobs[-8:] == logprobs.token_logprobs, "to the last bit"
    for place, offset in enumerate(whole.text_offset):
        assert choice.text[offset:].startswith(whole.tokens[place])
    # What was generated has the same odds when it is told back as a prompt.
    again = complete(choice.text, echo=True, logprobs=2, max_tokens=1).choices[0].logprobs
    assert again.token_logprobs[: len(whole.tokens)] == whole.token_logprobs
    chunks = list(complete(echo=True, logprobs=2, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == choice.text
    parts = [chunk.choices[0].logprobs for chunk in chunks if chunk.choices[0].logprobs]
    for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
        assert sum((getattr(part, name) for part in parts), []) == getattr(whole, name), name


@check
def a_long_prompt_is_told_back_to_its_last_token():
    text = "It was a dark and stormy night; the rain fell in torrents. " * 12
    choice = complete(text, echo=True, logprobs=0, max_tokens=1).choices[0]
    assert choice.text.startswith(text)
    assert "".join(choice.logprobs.tokens) == choice.text
    assert all(len(top) == 1 for top in choice.logprobs.top_logprobs[1:])


@check
def what_is_wrong_with_a_completion_is_named():
    bad("suffix", lambda: complete(suffix="end"), "unsupported_parameter")
    bad("best_of", lambda: complete(best_of=2), "unsupported_parameter")
    bad("logprobs", lambda: complete(logprobs=6))
    bad("prompt", lambda: complete([]))
    bad("max_tokens", lambda: complete(max_tokens=0))
    long = "word " * 9000
    for stream in (False, True):
        message = bad("prompt", lambda: complete(long, stream=stream), "context_length_exceeded")
        assert len([word for word in message.replace(",", " ").split() if word.isdigit()]) == 2
    bad("prompt[1]", lambda: complete(["a", long]), "context_length_exceeded")


@check
def vectors_have_length_one_and_keep_their_order():
    inputs = ["A cat sleeps.", "A kitten naps.", "The stock market fell sharply today."]
    answer = embed(inputs, encoding_format="float")
    assert answer.object == "list" and answer.model == MODEL
    assert [entry.index for entry in answer.data] == [0, 1, 2]
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 0
    vectors = [entry.embedding for entry in answer.data]
    assert all(len(vector) == 576 for vector in vectors)
    assert all(abs(math.hypot(*vector) - 1) < 1e-5 for vector in vectors)
    alone = [embed(text, encoding_format="float").data[0].embedding for text in inputs]
    assert alone == vectors, "to the last bit, in whatever company"
    near, far = (sum(map(lambda a, b: a * b, vectors[0], vectors[at])) for at in (1, 2))
    assert near > far, (near, far)
    many = embed([f"number {number}" for number in range(40)]).data
    assert [entry.index for entry in many] == list(range(40))


@check
def base64_is_the_same_numbers():
    floats = embed("hello", encoding_format="float").data[0].embedding
    # The client asks for base64 by itself and decodes it.
    assert embed("hello").data[0].embedding == [struct.unpack("f", struct.pack("f", one))[0] for one in floats]
    status, body = post(
        "/v1/embeddings", {"model": MODEL, "input": "hello", "encoding_format": "base64"}
    )
    bytes_ = base64.b64decode(body["data"][0]["embedding"])
    assert status == 200 and len(bytes_) == 4 * 576
    status, body = post("/v1/embeddings", {"model": MODEL, "input": "hello", "encoding_format": None})
    assert status == 200 and body["data"][0]["embedding"] == floats


@check
def a_shorter_vector_is_the_beginning_made_as_long_as_one():
    whole = embed("hello", encoding_format="float").data[0].embedding
    short = embed("hello", encoding_format="float", dimensions=64).data[0].embedding
    length = math.hypot(*whole[:64])
    assert len(short) == 64
    assert all(abs(a - b / length) < 1e-6 for a, b in zip(short, whole))


@check
def what_is_wrong_with_an_input_is_named():
    bad("input", lambda: embed(""))
    bad("input[1]", lambda: embed(["a", ""]))
    bad("input", lambda: embed([]))
    bad("encoding_format", lambda: embed("a", encoding_format="hex"))
    bad("dimensions", lambda: embed("a", dimensions=577))
    bad("input", lambda: embed("word " * 9000), "context_length_exceeded")
    ids = post("/tokenize", {"content": "hello", "add_special": True})[1]["tokens"]
    assert embed(ids).data[0].embedding == embed([ids]).data[0].embedding == embed("hello").data[0].embedding


@check
def text_and_tokens_become_one_another():
    for text in ("Hello world", "🦧 日本語 žluťoučký", " a\n\nb ", ""):
        status, body = post("/tokenize", {"content": text})
        assert status == 200, body
        status, back = post("/detokenize", {"tokens": body["tokens"]})
        assert status == 200 and back == {"content": text}, (text, back)
    plain = post("/tokenize", {"content": "<|im_end|>", "parse_special": False})[1]["tokens"]
    assert len(plain) > 1, "text is text"
    parsed = post("/tokenize", {"content": "<|im_end|>", "parse_special": True, "with_pieces": True})[1]
    assert parsed == {"tokens": [{"id": 2, "piece": "<|im_end|>"}]}, parsed
    assert post("/detokenize", {"tokens": [2]})[1] == {"content": "<|im_end|>"}
    pieces = post("/tokenize", {"content": "🦧", "with_pieces": True, "model": MODEL})[1]["tokens"]
    bytes_ = b"".join(
        piece["piece"].encode() if isinstance(piece["piece"], str) else bytes(piece["piece"])
        for piece in pieces
    )
    assert bytes_ == "🦧".encode()
    for path, body, param in [
        ("/tokenize", {}, "content"),
        ("/tokenize", {"content": 3}, "content"),
        ("/tokenize", {"content": "a", "model": "none"}, "model"),
        ("/detokenize", {"tokens": [1 << 30]}, "tokens"),
        ("/detokenize", {"tokens": "a"}, "tokens"),
    ]:
        status, body = post(path, body)
        assert status in (400, 404) and body["error"]["param"] == param, body


def main():
    passed = failed = 0
    for function in checks:
        begun = time.monotonic()
        name = function.__name__.replace("_", " ")
        try:
            function()
            passed += 1
            print(f"ok      {name} ({time.monotonic() - begun:.1f} s)", flush=True)
        except Exception as error:  # every fault of a check is that check's failure
            failed += 1
            print(f"FAILED  {name}: {type(error).__name__}: {error}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
