"""Asks a live node for JSON, JSON of a schema and calls of tools, through the official `openai` client.

Wants TROOP_BASE_URL (or the first argument) of a node that serves SmolLM2, and the packages `openai` and
`jsonschema`, which judge what comes back. Schemas are made from seeds: 20 and 10 forced calls, or 200 and 50
with TROOP_LONG=1. Prints a line for each check that fails, and "N passed, N failed" at the end.
"""

import concurrent.futures
import json
import os
import random
import sys

import jsonschema
import openai

BASE_URL = sys.argv[1] if len(sys.argv) > 1 else os.environ["TROOP_BASE_URL"]
MODEL = os.environ.get("TROOP_MODEL", "smollm2")
LONG = os.environ.get("TROOP_LONG") == "1"
SCHEMAS, CALLS = (200, 50) if LONG else (20, 10)
HELLO = [{"role": "user", "content": "Invent something."}]

client = openai.OpenAI(base_url=BASE_URL, api_key="troop", max_retries=0, timeout=1800)
checks = []


def check(function):
    checks.append(function)
    return function


def chat(messages=HELLO, **more):
    more = {"model": MODEL, "max_tokens": 1024, "temperature": 0, **more}
    return client.chat.completions.create(messages=messages, **more)


def asked(schema, **more):
    form = {"type": "json_schema", "json_schema": {"name": "it", "schema": schema}}
    return chat(response_format=form, **more)


def judge(schema, document):
    jsonschema.Draft202012Validator(
        schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    ).validate(document)


def together(cases, work):
    """Does `work` for all cases, some at a time; every failure is told."""
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        futures = {pool.submit(work, case): case for case in cases}
        failures = []
        for future in concurrent.futures.as_completed(futures):
            if (error := future.exception()) is not None:
                failures.append(f"{futures[future]}: {type(error).__name__} {error}"[:600])
    assert not failures, f"{len(failures)} of {len(futures)}\n" + "\n".join(failures[:10])


class Maker:
    """Schemas of objects, at most four deep, of at most twelve properties in all."""

    WORDS = ["name", "city", "size", "colour", "parts", "tags", "since", "note", "größe", "a/b", "x~y", "q\"t"]

    def __init__(self, seed):
        self.dice = random.Random(seed)
        self.left = 12

    def object(self, depth=1):
        dice, properties = self.dice, {}
        for word in dice.sample(self.WORDS, dice.randint(1, 5)):
            if self.left == 0:
                break
            self.left -= 1
            properties[word] = self.any(depth)
        made = {"type": "object", "properties": properties, "required": [w for w in properties if dice.random() < 0.7]}
        # An object of anything has no end that a small model would come to.
        if not properties or dice.random() < 0.9:
            made["additionalProperties"] = False
        return made

    def any(self, depth):
        dice = self.dice
        kinds = [
            lambda: {"type": "boolean"},
            lambda: {"type": "integer"},
            lambda: {"type": "number"},
            lambda: {"type": "integer", "minimum": dice.randint(-9, 0), "exclusiveMaximum": dice.randint(1, 5000)},
            lambda: {"type": "number", "minimum": 0.5, "maximum": dice.choice([1, 2.25, 1e6])},
            lambda: {"type": "integer", "multipleOf": dice.choice([2, 5, 12])},
            lambda: {"type": "string", "minLength": dice.randint(0, 4), "maxLength": dice.randint(4, 60)},
            lambda: {"type": "string", "description": "a few words", "maxLength": 200},
            lambda: {"type": "string", "pattern": dice.choice(["^[A-Z]{3}-[0-9]{2,4}$", "^(red|green|blue)$", "o"]), "maxLength": 12},
            lambda: {"type": "string", "format": dice.choice(["date", "time", "date-time", "uuid", "ipv4", "email"])},
            lambda: {"enum": dice.sample(["a", "b\"c", "ü\n", 1, 2.5, None, True, ["x"]], dice.randint(1, 4))},
            lambda: {"const": dice.choice(["k", 7, None, {"z": [1]}])},
            lambda: {"type": ["string", "null"], "maxLength": 9},
            lambda: {"anyOf": [{"type": "integer", "minimum": 10}, {"type": "string", "maxLength": 5}]},
            lambda: {"oneOf": [{"type": "boolean"}, {"type": "null"}]},
            lambda: {"allOf": [{"type": "integer", "minimum": 3}, {"maximum": 30}]},
        ]
        if depth < 4:
            kinds += [lambda: self.object(depth + 1)] * 5 + [lambda: self.array(depth + 1)] * 4
        return dice.choice(kinds)()

    def array(self, depth):
        least = self.dice.randint(0, 2)
        made = {"type": "array", "items": self.any(depth), "minItems": least, "maxItems": least + self.dice.randint(0, 3)}
        if self.dice.random() < 0.2:
            made["prefixItems"] = [{"type": "string", "maxLength": 6}]
            made["maxItems"] += 1
        return made


def whole(answer):
    choice = answer.choices[0]
    assert choice.finish_reason == "stop", (choice.finish_reason, choice.message.content)
    return json.loads(choice.message.content)


@check
def schemas_made_from_seeds_are_kept_to_by_the_greedy_model():
    def one(seed):
        schema = Maker(seed).object()
        judge(schema, whole(asked(schema)))

    together(range(SCHEMAS), one)


@check
def schemas_made_from_seeds_are_kept_to_at_temperature_one():
    def one(seed):
        schema = Maker(seed).object()
        judge(schema, whole(asked(schema, temperature=1, seed=seed)))

    together(range(SCHEMAS), one)


@check
def other_forms_of_schemas_are_kept_to():
    point = {"type": "object", "properties": {"x": {"type": "integer"}, "y": {"type": "integer"}}, "required": ["x", "y"]}
    shape = lambda kind, more: {
        "type": "object", "required": ["kind", *more], "additionalProperties": False,
        "properties": {"kind": {"const": kind}, **more},
    }
    # The greedy model never comes to the end of a list.
    tail = {
        "type": "object", "properties": {"value": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
        "required": ["value", "next"],
    }
    judge(tail, whole(asked(tail, temperature=1.5, seed=1, max_tokens=4096)))
    for schema in [
        {"type": "integer", "minimum": 1, "maximum": 6},
        {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 3, "maxItems": 3},
        {"enum": ["yes", "no"]},
        {"$ref": "#/$defs/point", "$defs": {"point": point}},
        {
            "oneOf": [{"$ref": "#/$defs/circle"}, {"$ref": "#/$defs/square"}],
            "$defs": {"circle": shape("circle", {"r": {"type": "integer"}}), "square": shape("square", {"side": {"type": "integer"}})},
        },
        {"type": "object", "patternProperties": {"^[a-c]$": {"type": "integer"}}, "additionalProperties": False, "maxProperties": 2},
    ]:
        for more in [{}, {"temperature": 1, "seed": 5}]:
            judge(schema, whole(asked(schema, **more)))


@check
def json_object_is_an_object():
    answer = chat(response_format={"type": "json_object"}, messages=[{"role": "user", "content": "Reply in JSON: who are you?"}])
    if answer.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(answer.choices[0].message.content), dict)
    else:
        assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].message.content.startswith("{")


@check
def a_stream_of_json_joins_to_the_whole():
    schema = Maker(3).object()
    one = asked(schema, temperature=1, seed=3).choices[0].message.content
    parts = [c.choices[0].delta.content or "" for c in asked(schema, temperature=1, seed=3, stream=True) if c.choices]
    assert "".join(parts) == one


@check
def choices_have_shapes_of_their_own():
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
    answer = asked(schema, n=4, temperature=1, seed=1)
    documents = [json.loads(choice.message.content) for choice in answer.choices]
    for document in documents:
        judge(schema, document)
    assert len({json.dumps(document) for document in documents}) > 1, documents


def refused(param, **request):
    try:
        chat(**request)
    except openai.BadRequestError as error:
        assert error.body["param"] == param, error.body
        return error.body["message"]
    raise AssertionError(f"{param} was not refused")


@check
def refused_schemas_name_the_keyword():
    at = "response_format.json_schema.schema"
    for part, keyword in [
        ({"not": {}}, "not"),
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"if": {}, "then": {}}, "if"),
        ({"propertyNames": {"pattern": "a"}}, "propertyNames"),
        ({"type": "string", "format": "color"}, "format"),
        ({"$ref": "https://example.com/s.json"}, "$ref"),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "oneOf"),
        ({"type": "strin"}, "type"),
    ]:
        schema = {"type": "object", "properties": {"p": part}}
        form = {"type": "json_schema", "json_schema": {"name": "it", "schema": schema}}
        message = refused(f"{at}/properties/p/{keyword}", response_format=form)
        assert keyword in message, message
    form = {"type": "json_schema", "json_schema": {"name": "it", "schema": {"type": "string", "pattern": "("}}}
    assert "unclosed" in refused(at, response_format=form)
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "not": {}}}}
    refused("tools[0].function.parameters/not", tools=[tool])
    refused("tools[0].function.name", tools=[{"type": "function", "function": {}}])


def function(seed, name):
    schema = Maker(seed).object()
    schema["additionalProperties"] = False
    return {"type": "function", "function": {"name": name, "description": "Does something.", "parameters": schema}}


@check
def forced_calls_parse_and_match_their_schemas():
    def one(seed):
        tools = [function(3 * seed + index, f"tool_{index}") for index in range(3)]
        by_name = {tool["function"]["name"]: tool["function"]["parameters"] for tool in tools}
        named = seed % 2 == 0
        choice = {"type": "function", "function": {"name": "tool_1"}} if named else "required"
        more = {"temperature": 1, "seed": seed} if seed % 3 else {}
        answer = chat(tools=tools, tool_choice=choice, parallel_tool_calls=seed % 4 == 1, max_tokens=4096, **more).choices[0]
        assert answer.finish_reason == "tool_calls", answer
        assert answer.message.content is None, answer
        calls = answer.message.tool_calls
        assert calls and (len(calls) == 1 or seed % 4 == 1), calls
        assert len({call.id for call in calls}) == len(calls)
        for call in calls:
            assert call.type == "function" and (not named or call.function.name == "tool_1")
            judge(by_name[call.function.name], json.loads(call.function.arguments))

    together(range(CALLS), one)


@check
def only_allowed_tools_are_called():
    tools = [function(1, "first"), function(2, "second")]
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "second"}}]}
    choice = {"type": "allowed_tools", "allowed_tools": allowed}
    answer = chat(tools=tools, tool_choice=choice, parallel_tool_calls=False, temperature=1, seed=2)
    assert [call.function.name for call in answer.choices[0].message.tool_calls] == ["second"]


@check
def calls_are_streamed_in_pieces():
    tools = [function(7, "first"), function(8, "second")]
    request = {"tools": tools, "tool_choice": "required", "temperature": 1, "seed": 4}
    one = chat(**request).choices[0].message
    calls, finish, names, ids = {}, None, {}, {}
    for chunk in chat(stream=True, **request):
        choice = chunk.choices[0]
        finish = choice.finish_reason or finish
        for piece in choice.delta.tool_calls or []:
            assert isinstance(piece.index, int)
            if piece.index not in calls:
                assert piece.type == "function" and piece.function.arguments == "", piece
                names[piece.index], ids[piece.index] = piece.function.name, piece.id
                calls[piece.index] = ""
            else:
                assert piece.id is None and piece.function.name is None, piece
                calls[piece.index] += piece.function.arguments
    assert finish == "tool_calls"
    assert [(names[i], calls[i]) for i in sorted(calls)] == [(c.function.name, c.function.arguments) for c in one.tool_calls]
    assert all(ids.values()) and sorted(calls) == list(range(len(calls)))


@check
def the_model_may_choose_and_its_calls_are_replayed():
    tools = [function(9, "weather")]
    free = chat(tools=tools, max_tokens=40).choices[0]
    assert free.finish_reason in ("stop", "length", "tool_calls")
    none = chat(tools=tools, tool_choice="none", max_tokens=40).choices[0]
    assert none.message.tool_calls is None and none.message.content == chat(max_tokens=40).choices[0].message.content
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\": \"Bern\"}"}}
    messages = [
        {"role": "user", "content": "How is the weather in Bern?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "{\"sky\": \"clear\", \"celsius\": 21}"},
    ]
    answer = chat(messages=messages, tools=tools, tool_choice="none", max_tokens=60).choices[0]
    assert answer.message.content and "tool_call" not in answer.message.content, answer
    without = chat(messages=messages[:1], max_tokens=8).usage.prompt_tokens
    assert chat(messages=messages, max_tokens=8).usage.prompt_tokens > without + 20


def main():
    passed = failed = 0
    for function in checks:
        try:
            function()
            passed += 1
        except Exception as error:  # every check gets its turn
            failed += 1
            print(f"FAILED {function.__name__}: {type(error).__name__}: {error}")
    print(f"{passed} passed, {failed} failed")
    return failed != 0


sys.exit(main())
