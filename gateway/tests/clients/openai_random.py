"""Random requests through the official `openai` client: joined deltas equal the whole answer.

Wants TROOP_BASE_URL (or the first argument), as in http://127.0.0.1:9000/v1, of a node that serves SmolLM2.
Makes 60 requests, or 300 with TROOP_LONG set, each once whole and once as a stream, several at a time; request
number N is made of seed N alone. Prints each difference, and "N passed, N failed" at the end.
"""

import os
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import openai

BASE_URL = sys.argv[1] if len(sys.argv) > 1 else os.environ["TROOP_BASE_URL"]
MODEL = os.environ.get("TROOP_MODEL", "smollm2")
COUNT = 300 if os.environ.get("TROOP_LONG") else 60

client = openai.OpenAI(base_url=BASE_URL, api_key="troop", max_retries=0, timeout=300)

WORDS = "tell me about the sea 🦧 and count to ten in Czech: žluťoučký kůň, 日本語 please <|im_end|> now".split()
STOPS = ["\n", ".", " the", "e", "a ", "and", "! ", "I'm", "é"]


def conversation(dice):
    turns = []
    if dice.random() < 0.3:
        turns.append({"role": "system", "content": "You are " + dice.choice(["brief.", "a poet."])})
    for place in range(dice.choice([1, 1, 1, 3])):
        role = ("user", "assistant")[place % 2]
        turns.append({"role": role, "content": " ".join(dice.choices(WORDS, k=dice.randint(1, 12)))})
    if dice.random() < 0.2:
        turns.append({"role": "assistant", "content": dice.choice(["Well", "Sure, I", "1, 2,"])})
    return turns


def request(seed):
    """What to ask: whether a conversation, and the fields of it."""
    dice = random.Random(seed)
    how = {"model": MODEL, "max_tokens": dice.randint(1, 32), "seed": seed}
    how["temperature"] = dice.choice([0, 0.7, 1, 1.5])
    how["n"] = dice.choice([1, 1, 1, 2, 3])
    if dice.random() < 0.4:
        how["stop"] = dice.sample(STOPS, dice.randint(1, 3))
    if dice.random() < 0.2:
        how["frequency_penalty"] = 0.5
    more = {}
    if dice.random() < 0.2:
        more["min_tokens"] = dice.randint(0, how["max_tokens"])
    if dice.random() < 0.2:
        more["ignore_eos"] = True
    if dice.random() < 0.2:
        more["stop_token_ids"] = dice.sample(range(200, 1200), 50)
    how["extra_body"] = more
    chats = dice.random() < 0.7
    if chats:
        how["messages"] = conversation(dice)
        if dice.random() < 0.4:
            how |= {"logprobs": True, "top_logprobs": dice.randint(0, 5)}
    else:
        prompts = [" ".join(dice.choices(WORDS, k=dice.randint(1, 12))) for _ in range(dice.choice([1, 1, 3]))]
        how |= {"prompt": prompts, "echo": dice.random() < 0.4}
        if dice.random() < 0.4:
            how["logprobs"] = dice.randint(0, 5)
    return chats, how


def of_chat(choices):
    """Text, odds and ending of each choice of a whole answer."""
    return [
        (
            choice.message.content,
            [token.to_dict() for token in choice.logprobs.content] if choice.logprobs else [],
            choice.finish_reason,
        )
        for choice in choices
    ]


def of_completion(choices):
    shape = ("tokens", "token_logprobs", "top_logprobs", "text_offset")
    odds = lambda told: [list(getattr(told, name)) for name in shape] if told else [[], [], [], []]
    return [(choice.text, odds(choice.logprobs), choice.finish_reason) for choice in choices]


def joined(chats, chunks, count):
    """The same of a stream, put together."""
    texts, endings = [""] * count, [None] * count
    odds = [[] if chats else [[], [], [], []] for _ in range(count)]
    for chunk in chunks:
        for choice in chunk.choices:
            at = choice.index
            assert endings[at] is None, f"choice {at} goes on after its end"
            endings[at] = choice.finish_reason
            if chats:
                texts[at] += choice.delta.content or ""
                odds[at] += [token.to_dict() for token in choice.logprobs.content] if choice.logprobs else []
            else:
                (text, told, _), = of_completion([choice])
                texts[at] += text
                odds[at] = [before + more for before, more in zip(odds[at], told)]
    return list(zip(texts, odds, endings))


def compare(seed):
    chats, how = request(seed)
    kind = client.chat.completions if chats else client.completions
    whole = kind.create(**how)
    usage = None
    chunks = list(kind.create(**how, stream=True, stream_options={"include_usage": True}))
    usage = chunks[-1].usage
    choices = (of_chat if chats else of_completion)(whole.choices)
    assert [choice.index for choice in whole.choices] == list(range(len(choices)))
    streamed = joined(chats, chunks, len(choices))
    assert streamed == choices, f"\n{streamed}\n{choices}"
    assert (usage.prompt_tokens, usage.completion_tokens) == (
        whole.usage.prompt_tokens,
        whole.usage.completion_tokens,
    )
    for text, _, reason in choices:
        # A stop string may stand in an echoed prompt; what was generated has none.
        if not how.get("echo"):
            assert not any(stop in text for stop in how.get("stop", [])), text
        assert reason in ("stop", "length")


def attempt(seed):
    try:
        compare(seed)
        return True
    except Exception as error:  # every fault is that request's failure
        print(f"FAILED  request {seed}: {type(error).__name__}: {error}", flush=True)
        return False


def main():
    begun = time.monotonic()
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(attempt, range(COUNT)))
    passed = sum(results)
    print(f"{COUNT} random requests, whole and streamed, in {time.monotonic() - begun:.0f} s")
    print(f"{passed} passed, {COUNT - passed} failed")
    return 0 if passed == COUNT else 1


if __name__ == "__main__":
    sys.exit(main())
