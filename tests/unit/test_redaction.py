"""Secrets are redacted wherever they stand, and what only looks like one is left."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_engine.redaction import redact, redact_value

A = "aB3dE5gH7jK9mN1pQ2rS4tU6vW8xY0zA1bC3dE5fG7"
# Written in pieces, so that no scanner of repositories takes them for real ones.
KEYS = [
    "sk-" + A, "sk-proj-" + A + "_-" + A, "sk-ant-api03-" + A, "sk_" + "live_" + A[:24], "AKIA" + "IOSFODNN7EXAMPLE",
    "ghp_" + A[:36], "github_" + "pat_" + A, "glpat-" + A[:20], "xoxb-" + "123456789012-" + A[:24], "AIza" + A[:35],
    "hf_" + A[:34], "gsk_" + A, "npm_" + A[:36], "SG." + A[:22] + "." + (A + A)[:43], "pypi-" + A + A,
    "dop_v1_" + "0123456789abcdef" * 4, "123456789:AA" + A[:33], "xai-" + A + A[:37],
]  # fmt: skip
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA" + A + "\n" + A + "\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize("key", KEYS, ids=[key[:8] for key in KEYS])
@pytest.mark.parametrize(
    "around", ["{}", "my key is {}, keep it", '{{"key": "{}"}}', "a line\\n{}\\n", "KEY={}\n", "钥匙：{}。"]
)
def test_a_providers_key_is_redacted(key: str, around: str) -> None:
    assert redact(around.format(key)) == around.format("[redacted: api key]")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"Authorization: Bearer {A}", "Authorization: [redacted: bearer token]"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlMTIz", "[redacted: bearer token]"),
        (f"before\n{PEM}\nafter", "before\n[redacted: private key]\nafter"),
        (PEM.replace("\n", "\\n"), "[redacted: private key]"),
        (f"{PEM[:60]} and then I stopped", "[redacted: private key]and then I stopped"),
        ("postgresql+psycopg://me:s3cr:et@db/x", "postgresql+psycopg://me:[redacted: password]@db/x"),
        ("redis://:pw@cache:6379/0 and https://a.example", "redis://:[redacted: password]@cache:6379/0 and https://a.example"),
        (f"https://{'u' * 150}:pw@host", f"https://{'u' * 150}:[redacted: password]@host"),
        ("4111 1111 1111 1111", "[redacted: card number]"),
        ("card 5555-5555-5555-4444.", "card [redacted: card number]."),
        ("378282246310005 / 3782 822463 10005", "[redacted: card number] / [redacted: card number]"),
        (f"{KEYS[0]} {KEYS[4]}", "[redacted: api key] [redacted: api key]"),
    ],
)  # fmt: skip
def test_other_secrets_are_redacted(text: str, shown: str) -> None:
    assert redact(text) == shown
    assert redact(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "d41d8cd98f00b204e9800998ecf8427e",
        "550e8400-e29b-41d4-a716-446655440000", "12345678-4111-1111-1111-111111111111",
        "commit 993eaae1a2b3c4d5e6f70819",
        "+49 151 12345678", "+1 (415) 555-2671", "4915112345678", "978-3-16-148410-0", "ISBN 9783161484100",
        "4111 1111 1111 1112", "1763733285123456", "5612345678901230",
        "4111111111111111abc", "AKIA" + "IOSFODNN7EXAMPLEX", "2026-11-21T13:54:45.123456Z",
        "DE89 3704 0044 0532 0130 00",
        "msg_0aB1cD2eF3gH4iJ5kL6mN7oP", "thread_abc", "chatcmpl-9xYz", "arXiv:2404.01234", "0.4111111111111111",
        "the sk-learn-based-pipeline-of-ours is slow", "ask-the-bearer-of-this-letter", "Bearer of good news and bad",
        "bearer certificates-of-deposit", "http://localhost:8000/a@b", "mailto:ana@example.com", "a:b@c", "https://a/b:c@d",
        "-----BEGIN PUBLIC KEY-----\nMFww\n-----END PUBLIC KEY-----", "[redacted: api key]", "task_id=hf_run", "x" * 64,
        "кредитка 1234 5678 9012 3456", "护照号 E12345678", "v1.2.3-rc.4+build.5",
    ],
)  # fmt: skip
def test_what_only_looks_like_one_stays(text: str) -> None:
    assert redact(text) == text


@given(st.text(st.sampled_from('sk-eyJ.Bear 4111:/@-+\\n{}"BEGIN PRIVATEKY'), max_size=200))
def test_redacting_twice_is_redacting_once(text: str) -> None:
    assert redact(redact(text)) == redact(text)


def test_a_json_value_keeps_its_shape() -> None:
    value = {"a": [KEYS[0], 1, None], "b": {"c": ("x", KEYS[1])}}
    assert redact_value(value) == {"a": ["[redacted: api key]", 1, None], "b": {"c": ("x", "[redacted: api key]")}}


HOSTILE = [
    "x", "sk-", "-sk-1", "-eyJ", ".eyJaaaaaaaaaa", "Bearer ", "4111 ", "1", "-----",
    "-----BEGIN PRIVATE KEY-----\nAAAA", "://a:", "xoxb-", "12345678:AA", "SG.aaaaaaaaaaaaaaaaaaaaaa.", "hf_a",
]  # fmt: skip


def test_a_mebibyte_of_whatever_takes_time_by_its_length() -> None:
    for piece in HOSTILE:
        text = (piece * (1024 * 1024 // len(piece) + 1))[: 1024 * 1024]
        times = []
        for part in (text[: len(text) // 8], text):
            started = time.process_time()
            redact(part)
            times.append(time.process_time() - started)
        assert times[1] < 24 * max(times[0], 0.01), piece
