"""The `tinyfed` command, called in the test's process."""

import json
from typing import Any

import pytest
from tinyfed_host.cli.main import run_command


class Tinyfed:
    """Calls the command in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def lines(self, *arguments: str) -> list[dict[str, Any]]:
        """The JSON lines of a command that went well."""
        assert run_command([*arguments, "--json"]) == 0, self._capsys.readouterr().err
        return [json.loads(line) for line in self._capsys.readouterr().out.splitlines()]

    def text(self, *arguments: str) -> str:
        assert run_command(list(arguments)) == 0
        return self._capsys.readouterr().out

    def error(self, code: int, *arguments: str) -> str:
        assert run_command(list(arguments)) == code
        told = self._capsys.readouterr().err.splitlines()
        assert len(told) == 1
        return told[0]
