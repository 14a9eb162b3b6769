"""What failed on a base backup is its fault, or that of the machine that tried it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import psycopg
import pytest

from arcweb.backups.exceptions import CorruptCopy, ToolError
from arcweb.backups.physical import private_server
from arcweb.backups.physical.judging import judged
from arcweb.backups.physical.recovery import TOO_EARLY
from arcweb.backups.proving import NotTried


@pytest.mark.parametrize(
    "error",
    [
        psycopg.errors.DataCorrupted("invalid page in block 3"),
        psycopg.errors.UndefinedFile("could not open file: No such file or directory"),
        ToolError("pg_verifybackup ended with code 1: checksum mismatch for file"),
        ToolError("PostgreSQL did not start on the copy (code 1). PANIC: no valid checkpoint"),
        ToolError("postgres was ended by SIGSEGV"),
    ],
)
def test_damage_is_the_copys_fault(error: Exception) -> None:
    found = judged(error, "It is damaged.")
    assert isinstance(found, CorruptCopy)
    assert str(found) == "It is damaged."


@pytest.mark.parametrize(
    "error",
    [
        psycopg.OperationalError("the connection is lost"),
        psycopg.errors.AdminShutdown("terminating connection due to administrator command"),
        psycopg.errors.DiskFull("could not extend file"),
        ToolError("pg_combinebackup ended with code 1: could not write file: No space left on device"),
        ToolError("pg_checksums was ended by SIGKILL and said nothing."),
        ToolError("PostgreSQL did not start on the copy (code -9). Its last words:"),
    ],
)
def test_a_machine_that_fails_says_nothing_about_the_copy(error: Exception) -> None:
    assert isinstance(judged(error, "It failed."), NotTried)


def test_why_a_server_ended_stands_in_its_last_words_however_often_we_asked_it(tmp_path: Path) -> None:
    asked = [
        "FATAL:  the database system is not accepting connections",
        "DETAIL:  Hot standby mode is disabled.",
    ]
    reason = f"FATAL:  {TOO_EARLY}"
    end = ["LOG:  startup process (PID 1) exited with exit code 1", "LOG:  database system is shut down"]
    log = tmp_path / "log"
    log.write_text("\n".join([*asked * 3, reason, *asked * 3, *end]))
    process = subprocess.Popen(["/bin/false"])
    process.wait()
    with pytest.raises(private_server.NoStart) as raised:
        private_server.Running(process, tmp_path, log).wait(lambda: None)
    assert [line.strip() for line in str(raised.value).splitlines()[1:]] == [reason, *end]
