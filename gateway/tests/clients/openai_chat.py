"""Chats with a live node through the official `openai` client, and checks everything that client can see.

Wants TROOP_BASE_URL (or the first argument), as in http://127.0.0.1:9000/v1, of a node that serves SmolLM2.
With TROOP_GUEST_KEY (a member with credits) and TROOP_POOR_KEY (one without) it also checks what keys do.
Prints a line for each check that fails, and "N passed, N failed" at the end; the exit code says the same.
"""

import http.client
import json
import os
import sys
import threading
import time
import urllib.parse

import openai

BASE_URL = sys.argv[1] if len(sys.argv) > 1 else os.environ["TROOP_BASE_URL"]
GUEST_KEY = os.environ.get("TROOP_GUEST_KEY")
POOR_KEY = os.environ.get("TROOP_POOR_KEY")
MODEL = os.environ.get("TROOP_MODEL", "smollm2")
JSON = {"Content-Type": "application/json"}
HELLO = [{"role": "user", "content": "Say hello."}]

client = openai.OpenAI(base_url=BASE_URL, api_key="troop", max_retries=0, timeout=120)
checks = []


class Skipped(Exception):
    """A check that this run cannot make."""


def check(function):
    checks.append(function)
    return function


def chat(client=client, messages=HELLO, **more):
    more = {"model": MODEL, "max_tokens": 16, "temperature": 0, **more}
    return client.chat.completions.create(messages=messages, **more)


def raw(method, path, body=None, headers=None):
    """One request without any client's help: its status, its headers, its body."""
    connection = http.client.HTTPConnection(urllib.parse.urlparse(BASE_URL).netloc, timeout=120)
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, {name.lower(): value for name, value in response.getheaders()}, text


def refused(kind, status, code, param, call):
    """The call must raise `kind`, with this status and all four members of the error object."""
    try:
        call()
    except kind as error:
        assert error.status_code == status, (error.status_code, error.body)
        assert error.request_id, "every answer has a request id"
        body = error.body
        assert set(body) == {"message", "type", "param", "code"}, body
        assert isinstance(body["message"], str) and isinstance(body["type"], str), body
        assert body["code"] == code, body
        assert body["param"] == param, body
        return error
    raise AssertionError(f"nothing was raised; {kind.__name__} was expected")


def bad(param, code=None, **more):
    return refused(openai.BadRequestError, 400, code, param, lambda: chat(**more))


@check
def a_prompt_asked_again_is_in_memory_but_for_its_last_token():
    words = [{"role": "user", "content": f"{time.time()} " + "Tell me more. " * 60}]
    first, second = (chat(messages=words, max_tokens=1).usage for _ in range(2))
    assert first.prompt_tokens_details.cached_tokens < first.prompt_tokens // 2
    assert second.prompt_tokens_details.cached_tokens == second.prompt_tokens - 1


@check
def a_chat_has_every_field():
    answer = chat()
    choice = answer.choices[0]
    assert answer.id.startswith("chatcmpl-") and answer.object == "chat.completion"
    assert answer.model == MODEL and abs(answer.created - time.time()) < 300
    assert answer.system_fingerprint.startswith("fp_")
    assert choice.index == 0 and choice.message.role == "assistant" and choice.message.content
    assert choice.message.refusal is None and choice.logprobs is None
    assert choice.finish_reason in ("stop", "length")
    usage = answer.usage
    assert usage.prompt_tokens > 0 and 0 < usage.completion_tokens <= 16
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert 0 <= usage.prompt_tokens_details.cached_tokens < usage.prompt_tokens
    assert answer._request_id


@check
def a_stream_joins_to_the_whole_answer():
    whole = chat().choices[0]
    chunks = list(chat(stream=True))
    assert len({chunk.id for chunk in chunks}) == 1 and len({c.created for c in chunks}) == 1
    assert all(chunk.object == "chat.completion.chunk" for chunk in chunks)
    first = chunks[0].choices[0].delta
    assert first.role == "assistant" and first.content == ""
    assert all(chunk.choices[0].delta.role is None for chunk in chunks[1:])
    assert all(chunk.usage is None and "usage" not in chunk.model_fields_set for chunk in chunks)
    joined = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert joined == whole.message.content, (joined, whole.message.content)
    reasons = [chunk.choices[0].finish_reason for chunk in chunks]
    assert reasons[:-1] == [None] * (len(reasons) - 1) and reasons[-1] == whole.finish_reason


@check
def a_stream_ends_with_its_usage_if_asked():
    whole = chat().usage
    chunks = list(chat(stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].choices == [] and chunks[-1].usage.to_dict() == whole.to_dict()
    assert all(chunk.usage is None and "usage" in chunk.model_fields_set for chunk in chunks[:-1])


@check
def a_stream_is_well_formed_to_the_last_byte():
    body = {"model": MODEL, "messages": HELLO, "max_tokens": 4, "stream": True}
    status, headers, text = raw("POST", "/v1/chat/completions", json.dumps(body), JSON)
    assert status == 200 and headers["content-type"] == "text/event-stream; charset=utf-8"
    assert headers["cache-control"] == "no-cache" and headers["x-accel-buffering"] == "no"
    assert headers["x-troop-node"] and headers["openai-processing-ms"]
    blocks = text.split("\n\n")
    assert blocks[-1] == "" and blocks[-2] == "data: [DONE]", blocks[-3:]
    for block in blocks[:-2]:
        assert block.startswith((": ", "data: {")) and "\n" not in block, block


@check
def n_answers_come_each_with_its_own_ending():
    answer = chat(n=3, temperature=1, seed=5, max_tokens=12)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in answer.choices}) > 1, "each has its own dice"
    assert answer.usage.prompt_tokens == chat().usage.prompt_tokens, "the prompt counts once"
    texts, endings = ["", "", ""], [0, 0, 0]
    for chunk in chat(n=3, temperature=1, seed=5, max_tokens=12, stream=True):
        choice = chunk.choices[0]
        texts[choice.index] += choice.delta.content or ""
        endings[choice.index] += choice.finish_reason is not None
    assert endings == [1, 1, 1]
    assert texts == [choice.message.content for choice in answer.choices]


@check
def a_stop_string_ends_the_answer_and_is_not_in_it():
    text = chat(max_tokens=24).choices[0].message.content
    stop = text[len(text) // 2 :][:3]
    for stops in (stop, [stop, "never said at all"]):
        answer = chat(max_tokens=24, stop=stops).choices[0]
        assert answer.finish_reason == "stop" and stop not in answer.message.content
        assert answer.message.content == text[: text.index(stop)]
    streamed = chat(max_tokens=24, stop=stop, stream=True)
    joined = "".join(chunk.choices[0].delta.content or "" for chunk in streamed)
    assert joined == text[: text.index(stop)]


@check
def the_same_seed_gives_the_same_text():
    def said(**more):
        return chat(temperature=1, max_tokens=10, **more).choices[0].message.content

    assert said(seed=7) == said(seed=7)
    assert said(seed=-7) == said(seed=-7)
    assert len({said(seed=seed) for seed in range(3)}) > 1
    assert len({said() for _ in range(3)}) > 1, "without a seed one is drawn"
    assert chat(seed=1).choices[0].message == chat(seed=2).choices[0].message, "greedy needs none"


@check
def the_same_request_among_strangers_gives_the_same_text():
    def said(seed):
        return chat(temperature=1, max_tokens=24, seed=seed).choices[0].message.content

    alone = said(11)
    together = {}
    threads = [
        threading.Thread(target=lambda seed=seed: together.update({seed: said(seed)}))
        for seed in range(8, 14)
    ]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert together[11] == alone


@check
def the_limits_on_tokens_are_kept():
    for limit in ({"max_tokens": 3}, {"max_tokens": None, "max_completion_tokens": 3}):
        answer = chat(messages=[{"role": "user", "content": "Count to fifty."}], **limit)
        assert answer.usage.completion_tokens == 3 and answer.choices[0].finish_reason == "length"


@check
def sampling_settings_are_taken():
    more = {"top_k": 20, "min_p": 0.05, "repetition_penalty": 1.1}
    answer = chat(
        temperature=0.8, top_p=0.9, frequency_penalty=0.5, presence_penalty=0.5, extra_body=more
    )
    assert answer.choices[0].message.content is not None
    one_k = chat(temperature=1.5, seed=3, extra_body={"top_k": 1}).choices[0].message.content
    assert one_k == chat().choices[0].message.content, "the likeliest of one is the greedy choice"


@check
def a_bias_keeps_a_token_out():
    plain = chat(max_tokens=8).choices[0].message.content
    biased = chat(max_tokens=8, logit_bias={str(token): -100 for token in range(300, 1300)})
    assert biased.choices[0].message.content != plain


@check
def the_odds_of_every_token_are_told_if_asked_for():
    plain = chat().choices[0]
    whole = chat(logprobs=True, top_logprobs=3).choices[0]
    assert whole.message == plain.message and whole.logprobs.refusal is None
    told = whole.logprobs.content
    joined = b"".join(bytes(token.bytes) for token in told).decode()
    assert joined == whole.message.content, (joined, whole.message.content)
    for token in told:
        likeliest = [one.logprob for one in token.top_logprobs]
        assert len(likeliest) == 3 and likeliest == sorted(likeliest, reverse=True)
        assert token.logprob == likeliest[0] <= 0, "greedy takes the likeliest"
        assert token.token == token.top_logprobs[0].token
    chunks = list(chat(logprobs=True, top_logprobs=3, stream=True))
    streamed = [c.choices[0].logprobs.content for c in chunks if c.choices[0].logprobs]
    assert sum(streamed, []) == told, "to the last bit"
    assert all(token.top_logprobs == [] for token in chat(logprobs=True).choices[0].logprobs.content)


@check
def odds_stay_with_their_text_when_a_stop_string_is_held_back():
    text = chat(max_tokens=24).choices[0].message.content
    stop = text[len(text) // 2 :][:6]
    for how in ({"stop": stop}, {"stop": stop + "never"}):
        whole = chat(max_tokens=24, logprobs=True, **how).choices[0]
        told = b"".join(bytes(token.bytes) for token in whole.logprobs.content).decode()
        assert told.startswith(whole.message.content)
        assert len(told) - len(whole.message.content) < 12, "no more than the token it ends in"
        seen, bytes_seen = "", b""
        for chunk in chat(max_tokens=24, logprobs=True, stream=True, **how):
            choice = chunk.choices[0]
            seen += choice.delta.content or ""
            for token in choice.logprobs.content if choice.logprobs else []:
                bytes_seen += bytes(token.bytes)
        assert seen == whole.message.content and bytes_seen.decode() == told


@check
def an_answer_that_is_begun_is_continued():
    ask = {"role": "user", "content": "What is the capital of France?"}
    begun = [ask, {"role": "assistant", "content": "The capital of France is"}]
    text = chat(messages=begun).choices[0].message.content
    assert text.startswith(" Paris"), text
    more = {"continue_final_message": True, "add_generation_prompt": False}
    assert chat(messages=begun, extra_body=more).choices[0].message.content == text
    bad("continue_final_message", messages=begun, extra_body={"continue_final_message": False})
    bad("continue_final_message", extra_body={"continue_final_message": True})


@check
def tokens_that_end_an_answer_can_be_named_and_put_off():
    plain = chat(max_tokens=64)
    assert plain.choices[0].finish_reason == "stop"
    least = plain.usage.completion_tokens + 3
    longer = chat(max_tokens=64, extra_body={"min_tokens": least})
    assert longer.usage.completion_tokens > least
    assert longer.choices[0].message.content.startswith(plain.choices[0].message.content)
    on = chat(max_tokens=64, extra_body={"ignore_eos": True})
    assert on.usage.completion_tokens == 64 and on.choices[0].finish_reason == "length"
    bad("min_tokens", extra_body={"min_tokens": 17})
    bad("stop_token_ids", extra_body={"stop_token_ids": [1 << 30]})


@check
def content_may_come_in_parts_and_unknown_fields_are_ignored():
    parts = [{"role": "user", "content": [{"type": "text", "text": "Say hello."}]}]
    more = {"nobody_heard_of": {"this": 1}}
    assert chat(messages=parts, extra_body=more).choices[0].message == chat().choices[0].message
    roles = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "And now?"},
    ]
    assert chat(messages=roles).choices[0].message.content is not None


@check
def characters_arrive_whole():
    ask = [{"role": "user", "content": "Repeat: 🦧 日本語 žluťoučký"}]
    # A warm model may make bytes that are no characters; what may not be is that a chunk's edge makes one.
    how = dict(messages=ask, max_tokens=40, temperature=1.2)
    for seed in range(4):
        whole = chat(seed=seed, **how).choices[0].message.content
        chunks = chat(seed=seed, stream=True, **how)
        joined = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        assert joined == whole, (seed, joined, whole)


@check
def a_wrong_field_is_named():
    bad("temperature", temperature="hot")
    bad("temperature", temperature=3)
    bad("n", n=0)
    bad("n", n=17)
    bad("max_tokens", max_tokens=0)
    bad("max_completion_tokens", max_tokens=None, max_completion_tokens=-1)
    bad("max_tokens", max_tokens=1, max_completion_tokens=2)
    bad("stop", stop=["a", "b", "c", "d", "e"])
    bad("messages", messages=[])
    bad("messages[0].role", messages=[{"role": "king", "content": "x"}])
    bad("logit_bias", logit_bias={"x": 1})
    image = [{"type": "image_url", "image_url": {"url": "data:,"}}]
    bad("messages[0].content[0]", messages=[{"role": "user", "content": image}])


@check
def what_is_not_served_is_refused_by_name():
    bad("reasoning_effort", "unsupported_parameter", reasoning_effort="high")
    for field, value in [("grammar", "root ::= x"), ("mirostat", 2), ("num_ctx", 512)]:
        bad(field, "unsupported_parameter", extra_body={field: value})


@check
def too_long_a_prompt_is_told_both_numbers():
    messages = [{"role": "user", "content": "word " * 9000}]
    for stream in (False, True):
        error = bad("messages", "context_length_exceeded", messages=messages, stream=stream)
        numbers = [word.strip(",.;") for word in str(error.body["message"]).split()]
        assert len([word for word in numbers if word.isdigit()]) == 2, error.body


@check
def an_unknown_model_is_not_found_and_a_near_one_is_named():
    error = refused(
        openai.NotFoundError, 404, "model_not_found", "model", lambda: chat(model=MODEL + "x")
    )
    assert MODEL in error.body["message"].split("mean")[-1], error.body


@check
def a_wrong_key_is_refused():
    stranger = client.with_options(api_key="troop-0000000000000000")
    error = refused(openai.AuthenticationError, 401, "invalid_api_key", None, lambda: chat(stranger))
    assert error.response.headers["www-authenticate"] == "Bearer"
    other = client.with_options(api_key="sk-of-somewhere-else")
    refused(openai.AuthenticationError, 401, "invalid_api_key", None, lambda: chat(other))


@check
def a_guest_with_credits_is_served():
    if GUEST_KEY is None:
        raise Skipped("TROOP_GUEST_KEY is not set")
    assert chat(client.with_options(api_key=GUEST_KEY)).choices[0].message == chat().choices[0].message


@check
def a_guest_without_credits_is_told_not_to_try_again():
    if POOR_KEY is None:
        raise Skipped("TROOP_POOR_KEY is not set")
    # With the client's own retries on: the header must stop them.
    poor = client.with_options(api_key=POOR_KEY, max_retries=3)
    for stream in (False, True):
        error = refused(
            openai.RateLimitError,
            429,
            "insufficient_quota",
            None,
            lambda: chat(poor, stream=stream),
        )
        assert error.response.headers["x-should-retry"] == "false"


@check
def a_body_that_is_too_large_is_refused():
    messages = [{"role": "user", "content": "x" * (9 << 20)}]
    refused(
        openai.APIStatusError, 413, "request_too_large", None, lambda: chat(messages=messages)
    )


@check
def plain_http_faults_get_an_error_object():
    chat_path = "/v1/chat/completions"
    cases = [
        (("POST", chat_path, "{", JSON), 400),
        (("POST", chat_path, "[" * 100_000, JSON), 400),
        (("POST", chat_path, '{"model":1,"model":2}', JSON), 400),
        (("POST", chat_path, "x", {**JSON, "Content-Encoding": "gzip"}), 415),
        (("POST", chat_path, "x", {"Content-Type": "text/plain"}), 415),
        (("GET", chat_path), 405),
        (("GET", "/v1/nothing"), 404),
        (("GET", "/v1/troop/status"), 404),
        (("GET", "/v1/models", None, {"Host": "evil.example"}), 403),
        (("GET", "/v1/models", None, {"Origin": "http://evil.example"}), 403),
        (("GET", "/", None, {"X-Big": "x" * 20_000}), 431),
    ]
    for request, expected in cases:
        status, headers, text = raw(*request)
        assert status == expected, (request[:2], status)
        assert set(json.loads(text)["error"]) == {"message", "type", "param", "code"}
        assert headers["x-request-id"] and "access-control-allow-origin" not in headers
        assert status != 405 or headers["allow"] == "POST"


@check
def models_are_listed():
    assert MODEL in [model.id for model in client.models.list()]
    model = client.models.retrieve(MODEL)
    assert model.id == MODEL and model.object == "model" and model.owned_by == "troop"
    kind = openai.NotFoundError
    refused(kind, 404, "model_not_found", "model", lambda: client.models.retrieve("a/b:c"))


@check
def probes_are_answered():
    for path in ("/", "/livez", "/readyz", "/healthz", "/health", "/v1/health", "/readyz?verbose"):
        for method in ("GET", "HEAD"):
            assert raw(method, path)[0] == 200, (method, path)
    checks = json.loads(raw("GET", "/readyz", None, {"Accept": "application/json"})[2])["checks"]
    assert checks and all(check["ok"] for check in checks), json.dumps(checks)


@check
def after_hang_ups_the_node_serves_as_before():
    before = chat().choices[0].message
    for _ in range(20):
        stream = chat(stream=True, max_tokens=500, temperature=1)
        next(iter(stream))
        stream.close()
    assert chat().choices[0].message == before


def main():
    passed = failed = 0
    for function in checks:
        begun = time.monotonic()
        name = function.__name__.replace("_", " ")
        try:
            function()
            passed += 1
            print(f"ok      {name} ({time.monotonic() - begun:.1f} s)", flush=True)
        except Skipped as reason:
            print(f"skipped {name}: {reason}", flush=True)
        except Exception as error:  # every fault of a check is that check's failure
            failed += 1
            print(f"FAILED  {name}: {type(error).__name__}: {error}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
