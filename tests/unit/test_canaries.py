"""Canaries: what is looked for is found wherever it stands, and what stands everywhere is not looked for."""

import threading
from pathlib import Path

import pytest

from memory_engine.canaries import WINDOW, Hasher, canaries_of, forms_of, scan

HASHER = Hasher.of(bytes(range(1, 17)))
TEXT = "the vault opens with kestrel-harmonica-7731 at dusk"


def found_in(folder: Path, text: str) -> int:
    """How many canaries of a text stand in the folder's files."""
    return len(scan(folder, [], HASHER, canaries_of(HASHER, forms_of(text)), closing=threading.Event()).found)


@pytest.mark.parametrize("before", [0, 1, 7, 8, 9, 4 * 1024 * 1024 - WINDOW // 2])
def test_a_text_is_found_at_every_byte(tmp_path: Path, before: int) -> None:
    (tmp_path / "file").write_bytes(bytes(before) + TEXT[:WINDOW].encode())
    assert found_in(tmp_path, TEXT[:WINDOW]) == 1


@pytest.mark.parametrize("text", ["die Tür zum Tresorraum öffnet um neun", "ключ лежит под ковриком у двери"])
def test_a_text_is_found_inside_json_too(tmp_path: Path, text: str) -> None:
    (tmp_path / "log.json").write_text(text.encode("unicode_escape").decode().replace("\\x", "\\u00"))
    assert found_in(tmp_path, text)


def test_any_part_of_a_text_is_enough(tmp_path: Path) -> None:
    (tmp_path / "file").write_text(TEXT[-2 * WINDOW :])
    assert found_in(tmp_path, TEXT)


@pytest.mark.parametrize("text", ["", "too short", "=" * 80, " \n" * 40, "0" * 32])
def test_what_stands_in_files_by_chance_is_not_looked_for(text: str) -> None:
    assert not len(canaries_of(HASHER, forms_of(text)))


def test_a_file_outside_of_the_folder_is_looked_through_too(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "elsewhere").write_text(TEXT)
    others, wanted = [tmp_path / "elsewhere", tmp_path / "gone"], canaries_of(HASHER, [TEXT.encode()])
    seen = scan(tmp_path / "folder", others, HASHER, wanted, closing=threading.Event())
    assert (seen.files, seen.bytes, set(seen.found.values())) == (1, len(TEXT), {"elsewhere"})


def test_a_scan_is_broken_off_when_the_store_is_closed(tmp_path: Path) -> None:
    closing = threading.Event()
    closing.set()
    with (tmp_path / "long").open("wb") as file:
        file.truncate(2_000_000_000)  # seconds of looking
    with pytest.raises(OSError, match="ended with code -9"):
        scan(tmp_path, [], HASHER, canaries_of(HASHER, [TEXT.encode()]), closing=closing)
