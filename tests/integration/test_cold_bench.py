"""The start-up bench works; how fast the start is, it says itself when it is run by hand."""

import pytest

from bench.cold import main


def test_it_prints_its_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["bench.cold", "--runs", "1"])
    main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["python -c pass", "--help", "to /ready"]
