"""The scan of a body counts what a parser would find, however the body is cut into pieces."""

import json
import random
import time
from typing import Any

import pytest

from api.json_scan import MAX_DEPTH, MAX_VALUES, JsonScan, TooDeep, TooManyValues


def some_value(chance: random.Random, depth: int = 0) -> Any:
    texts = ["", "a", '"', "\\", "[[[{", "]}", '\\"', "é中\n", "\\\\", ",,,"]
    kind = chance.randint(0, 4 if depth < 6 else 2)
    if kind == 3:
        return [some_value(chance, depth + 1) for _ in range(chance.randint(0, 4))]
    if kind == 4:
        return {chance.choice(texts) + str(n): some_value(chance, depth + 1) for n in range(chance.randint(0, 4))}
    return chance.choice([*texts, 1, 2.5, None, True])


def depth_of(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth_of, inner), default=0)


def pieces(raw: bytes, chance: random.Random) -> list[bytes]:
    found = []
    while raw:
        some = chance.randint(1, 9)
        found.append(raw[:some])
        raw = raw[some:]
    return found


def test_depth_is_that_of_the_parsed_value_however_the_body_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(5)
    for _ in range(2_000):
        value = some_value(chance)
        raw = json.dumps(value, ensure_ascii=chance.random() < 0.5).encode()
        for most in (depth_of(value), depth_of(value) - 1):
            monkeypatch.setattr("api.json_scan.MAX_DEPTH", most)
            scan = JsonScan()
            try:
                for piece in pieces(raw, chance):
                    scan.feed(piece)
                is_deep = False
            except TooDeep:
                is_deep = True
            assert is_deep == (most < depth_of(value) and depth_of(value) > 0), raw


def test_deep_bodies_and_many_values_are_told() -> None:
    JsonScan().feed(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    with pytest.raises(TooDeep):
        JsonScan().feed(b"[" * (MAX_DEPTH + 1))
    JsonScan().feed(b"[" + b"0," * (MAX_VALUES - 1) + b"0]")
    with pytest.raises(TooManyValues):
        JsonScan().feed(b"[" + b"0," * (MAX_VALUES + 1) + b"0]")
    JsonScan().feed(b'"' + b"[,{" * MAX_VALUES + b'"')


@pytest.mark.parametrize("run", [b"\\", b'"', b"[]", b"a", b",", b'\\"', b"{"])
def test_a_scan_of_a_megabyte_takes_little_time(run: bytes) -> None:
    started = time.thread_time()
    scan = JsonScan()
    try:
        for _ in range(16):
            scan.feed((run * 65_536)[:65_536])
    except (TooDeep, TooManyValues):
        pass
    assert time.thread_time() - started < 0.25
