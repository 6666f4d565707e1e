"""The order in which an index file becomes part of a library, from a trace of the calls."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from tests.faults.libraries import Place
from tests.faults.oracle import FILE
from tests.faults.processes import SCRIPT, environment

# Reports what matters of a Python process; it changes nothing that the calls do.
_REPORTER: Final = """
import os, sqlite3
_file = os.open(os.environ["TRACE_TO"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def _say(*words): os.write(_file, ("\\t".join(words) + "\\n").encode())
_fsync, _replace, _rename = os.fsync, os.replace, os.rename
_unlink, _connect = os.unlink, sqlite3.connect
def fsync(descriptor):
    _fsync(descriptor)
    _say("sync", os.readlink("/proc/self/fd/%d" % descriptor))
def replace(source, target, **more):
    _replace(source, target, **more)
    _say("rename", os.fspath(source), os.fspath(target))
def rename(source, target, **more):
    _rename(source, target, **more)
    _say("rename", os.fspath(source), os.fspath(target))
def unlink(path, **more):
    _unlink(path, **more)
    _say("unlink", os.fspath(path))
def _statement(sql):
    if sql.startswith("INSERT") and "generations" in sql: _say("record")
    if sql.startswith("COMMIT"): _say("commit")
def connect(*words, **more):
    connection = _connect(*words, **more)
    connection.set_trace_callback(_statement)
    return connection
os.fsync, os.replace, os.rename, os.unlink = fsync, replace, rename, unlink
sqlite3.connect = connect
"""


@dataclass(frozen=True, slots=True)
class Call:
    """A call with its paths: `sync`, `rename`, `unlink`, `log` (a write to SQLite's log)."""

    name: str
    paths: tuple[str, ...] = ()


def reported(place: Place, folder: Path) -> list[Call]:
    """Index, and return the calls that Python made."""
    site = folder / "site"
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(_REPORTER, encoding="utf-8")
    trace = folder / "reported.txt"
    search = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH", ""))))
    _index(place, [], {"PYTHONPATH": search, "TRACE_TO": str(trace)})
    calls = [Call(*_split(line)) for line in trace.read_text(encoding="utf-8").splitlines()]
    trace.unlink()
    return calls


def _split(line: str) -> tuple[str, tuple[str, ...]]:
    name, *paths = line.split("\t")
    return name, tuple(paths)


@cache
def strace_reason() -> str:
    """Return why system calls cannot be traced here; empty when they can."""
    if shutil.which("strace") is None:
        return "no strace"
    done = subprocess.run(["strace", "-qq", "true"], capture_output=True, check=False)
    return "" if done.returncode == 0 else "this system does not let strace trace"


_TRACED: Final = "fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,pwrite64"
_LINE: Final = re.compile(r"^\d+ +(\w+)\((.*)\) += 0|^\d+ +(pwrite64)\((.*)\) += [1-9]")
_DESCRIPTOR: Final = re.compile(r"^\d+<(.*?)>")
_PATH: Final = re.compile(r'"([^"]*)"')


def traced(place: Place, folder: Path) -> list[Call]:
    """Index, and return the calls that reached the kernel."""
    trace = folder / "traced.txt"
    strace = ["strace", "-f", "-y", "-qq", "-s", "0", "-o", str(trace), "-e", f"trace={_TRACED}"]
    _index(place, strace, {})
    calls = [
        call for line in trace.read_text(encoding="utf-8").splitlines() for call in _read(line)
    ]
    trace.unlink()
    return calls


def _read(line: str) -> list[Call]:
    found = _LINE.match(line)
    if found is None:
        return []
    name, rest = found[1] or found[3], found[2] or found[4]
    described = _DESCRIPTOR.match(rest)
    match name:
        case "fsync" | "fdatasync":
            return [Call("sync", (described[1],))] if described else []
        case "pwrite64":
            is_log = described is not None and described[1].endswith(f"{FILE}-wal")
            return [Call("log")] if is_log else []
        case "unlink" | "unlinkat":
            return [Call("unlink", tuple(_PATH.findall(rest)))]
        case _:
            return [Call("rename", tuple(_PATH.findall(rest)))]


def _index(place: Place, tracer: list[str], variables: dict[str, str]) -> None:
    subprocess.run(
        [*tracer, str(SCRIPT), *map(str, place.arguments())],
        env=environment(variables),
        check=True,
        capture_output=True,
        timeout=300,
    )
