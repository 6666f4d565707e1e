"""Files of a model hub: fetched once, gone on with, verified, refused clearly."""

import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.retrieval.hub_server import Hub, serving

from mmsearch.errors import ModelError
from mmsearch.retrieval import download
from mmsearch.retrieval.download import (
    Checksum,
    RefusedError,
    RemoteFile,
    UnreachableError,
    fetch,
    get,
)
from mmsearch.retrieval.hub import cached_snapshot, check_reachable, fetch_files, list_repository
from mmsearch.retrieval.specs import HubRepository

NAME = "some/model"
LARGE = bytes(range(256)) * 40
REPOSITORY = HubRepository(NAME)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with one repository; nothing of the user's own is looked at."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(download, "PAUSE", 0.0)
    folder = tmp_path / "repository"
    (folder / "onnx").mkdir(parents=True)
    (folder / "config.json").write_text('{"a": 1}\n')
    (folder / "onnx" / "a model.onnx").write_bytes(LARGE)
    with serving() as hub:
        hub.repositories[NAME] = folder
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        yield hub


def _fetch(target: Path, names: list[str] | None = None) -> list[tuple[int, int]]:
    seen: list[tuple[int, int]] = []
    listing = list_repository(REPOSITORY)
    wanted = sorted(listing.files) if names is None else names
    fetch_files(listing, wanted, target, lambda done, total: seen.append((done, total)))
    return seen


def test_files_arrive_where_they_are_in_the_repository(hub: Hub, tmp_path: Path) -> None:
    seen = _fetch(tmp_path / "here")
    assert (tmp_path / "here" / "config.json").read_text() == '{"a": 1}\n'
    assert (tmp_path / "here" / "onnx" / "a model.onnx").read_bytes() == LARGE
    assert seen[-1] == (len(LARGE) + 9, len(LARGE) + 9)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert len(list((tmp_path / "here").rglob("*.partial"))) == 0


def test_a_listing_tells_commit_sizes_and_licence(hub: Hub) -> None:
    listing = list_repository(REPOSITORY)
    assert listing.commit == hub.commit(NAME)
    assert listing.licence == "mit"
    assert listing.bytes(["config.json"]) == 9
    assert f"/resolve/{listing.commit}/" in listing.files["config.json"].url


def test_what_is_there_is_not_fetched_again(hub: Hub, tmp_path: Path) -> None:
    _fetch(tmp_path / "here")
    before = len(hub.paths("resolve"))
    _fetch(tmp_path / "here")
    assert len(hub.paths("resolve")) == before


def test_a_connection_that_breaks_off_is_gone_on_with(hub: Hub, tmp_path: Path) -> None:
    hub.cut, hub.cuts = 3000, 3
    _fetch(tmp_path / "here")
    assert (tmp_path / "here" / "onnx" / "a model.onnx").read_bytes() == LARGE
    ranges = [headers.get("range") for kind, _, headers in hub.asked if kind == "store"]
    assert ranges == [None, "bytes=3000-", "bytes=6000-", "bytes=9000-"]


def test_a_download_that_was_given_up_is_gone_on_with_later(hub: Hub, tmp_path: Path) -> None:
    hub.cut, hub.cuts = 3000, 1
    target = tmp_path / "here" / "file"
    listing = list_repository(REPOSITORY)
    file = listing.files["onnx/a model.onnx"]

    def interrupt(done: int) -> None:
        if done >= 3000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(file, target, interrupt)
    assert not target.exists()
    assert (tmp_path / "here" / "file.partial").read_bytes() == LARGE[:3000]
    fetch(file, target)
    assert target.read_bytes() == LARGE
    assert hub.asked[-1][2]["range"] == "bytes=3000-"


def test_a_server_that_never_gets_further_is_given_up(hub: Hub, tmp_path: Path) -> None:
    hub.cut, hub.cuts = 0, 100
    with pytest.raises(ModelError, match=r"broke off at 0 bytes .* run the same command") as caught:
        _fetch(tmp_path / "here")
    assert "\n" not in str(caught.value)
    assert 100 - hub.cuts == download.TRIES


def test_a_server_without_ranges_sends_the_whole_again(hub: Hub, tmp_path: Path) -> None:
    hub.cut, hub.cuts, hub.no_ranges = 3000, 2, True
    _fetch(tmp_path / "here")
    assert (tmp_path / "here" / "onnx" / "a model.onnx").read_bytes() == LARGE


@pytest.mark.parametrize("name", ["config.json", "a model.onnx"])
def test_a_wrong_checksum_is_named_and_the_file_deleted(
    hub: Hub, tmp_path: Path, name: str
) -> None:
    hub.wrong = {name}
    with pytest.raises(ModelError, match=rf"{name} arrived with the checksum .* deleted"):
        _fetch(tmp_path / "here")
    assert not [p for p in (tmp_path / "here").rglob("*") if name in p.name]
    hub.wrong = set()
    _fetch(tmp_path / "here")
    assert (tmp_path / "here" / "onnx" / "a model.onnx").read_bytes() == LARGE


def test_a_partial_file_that_is_too_long_is_deleted(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "config.json.partial").write_text("much longer than the file")
    with pytest.raises(ModelError, match="25 bytes where 9 were promised; it was deleted"):
        _fetch(tmp_path / "here", ["config.json"])
    _fetch(tmp_path / "here", ["config.json"])


def test_a_partial_file_that_the_server_has_no_rest_of_begins_anew(
    hub: Hub, tmp_path: Path
) -> None:
    url = list_repository(REPOSITORY).files["onnx/a model.onnx"].url
    (tmp_path / "file.partial").write_bytes(LARGE + b"more")
    fetch(RemoteFile("file", url), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == LARGE


def test_the_token_is_shown_to_the_hub_and_not_to_where_it_sends_us(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.private = "Bearer secret"
    with pytest.raises(ModelError, match=r"no public repository some/model .*no HF_TOKEN is set"):
        list_repository(REPOSITORY)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "token").write_text("secret\n")
    _fetch(tmp_path / "one")
    (tmp_path / "home" / "token").unlink()
    monkeypatch.setenv("HF_TOKEN", "secret")
    _fetch(tmp_path / "two")
    assert not [h for kind, _, h in hub.asked if kind == "store" and "authorization" in h]


def test_a_gated_repository_says_what_to_do(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.gated = True
    message = r"asks to accept its terms: do so at http.*/some/model and set HF_TOKEN"
    with pytest.raises(ModelError, match=rf"{message} \(no HF_TOKEN is set\)"):
        _fetch(tmp_path / "here")
    monkeypatch.setenv("HF_TOKEN", "mine")
    with pytest.raises(ModelError, match=f"{message}$"):
        _fetch(tmp_path / "here")


def test_a_repository_that_changes_meanwhile_is_told_so(hub: Hub, tmp_path: Path) -> None:
    listing = list_repository(REPOSITORY)
    (hub.repositories[NAME] / "config.json").write_text("changed")
    with pytest.raises(ModelError, match="has changed just now; try again"):
        fetch_files(listing, ["config.json"], tmp_path / "here", lambda *_: None)


def test_an_unknown_revision_is_named(hub: Hub) -> None:
    with pytest.raises(ModelError, match="some/model has no 'v9'"):
        list_repository(HubRepository(NAME, "v9"))
    assert list_repository(HubRepository(NAME, hub.commit(NAME))).files


def test_a_server_that_is_no_hub_is_one_clear_error(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmsearch.retrieval.hub.get", lambda url, headers: b"<html>welcome</html>")
    with pytest.raises(ModelError, match="does not answer like a model hub"):
        list_repository(REPOSITORY)
    monkeypatch.setenv("HF_ENDPOINT", "file:///etc")
    with pytest.raises(ModelError, match="must begin with https"):
        list_repository(REPOSITORY)


def test_file_names_that_lead_out_of_the_folder_are_left_out(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["../up", "/etc/passwd", "a/../../b", "..\\up", "fine"]
    document = {"sha": "1", "siblings": [{"rfilename": name} for name in names]}
    monkeypatch.setattr("mmsearch.retrieval.hub.get", lambda *_: json.dumps(document).encode())
    assert set(list_repository(REPOSITORY).files) == {"fine"}


def test_no_network_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:\d+ \(Connection refused\)"):
            list_repository(REPOSITORY)


def test_a_machine_without_names_is_told_that_it_is_offline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.invalid")
    with pytest.raises(UnreachableError, match="cannot be resolved; is this machine offline"):
        list_repository(REPOSITORY)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for ask in (check_reachable, lambda: list_repository(REPOSITORY)):
        with pytest.raises(UnreachableError, match="HF_HUB_OFFLINE"):
            ask()


def test_a_hub_that_answers_anything_is_reachable(hub: Hub) -> None:
    check_reachable()


def test_a_silent_server_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        with pytest.raises(UnreachableError, match="no answer within"):
            get(f"http://127.0.0.1:{deaf.getsockname()[1]}/", {})


def test_the_hubs_own_cache_is_used_when_it_is_sound(hub: Hub, tmp_path: Path) -> None:
    commit = hub.commit(NAME)
    snapshot = tmp_path / "home" / "hub" / "models--some--model" / "snapshots" / commit
    shutil.copytree(hub.repositories[NAME], snapshot)
    (snapshot / "config.json").write_text('{"a": 2}\n')  # damaged
    _fetch(tmp_path / "here")
    assert (tmp_path / "here" / "config.json").read_text() == '{"a": 1}\n'
    assert hub.paths("store") == []
    assert cached_snapshot(REPOSITORY) is None
    references = snapshot.parents[1] / "refs"
    references.mkdir()
    (references / "main").write_text(commit)
    assert cached_snapshot(REPOSITORY) == snapshot


def test_a_disk_that_is_too_small_is_told_before_anything_is_fetched(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ModelError, match="has room for 0 MB"):
        _fetch(tmp_path / "here")
    assert hub.paths("resolve") == []


def test_what_a_server_refuses_is_told_with_its_code(hub: Hub, tmp_path: Path) -> None:
    file = RemoteFile("file", f"{hub.endpoint}/{NAME}/resolve/0/nothing")
    with pytest.raises(RefusedError, match="answered 404 for /some/model/resolve/0/nothing"):
        fetch(file, tmp_path / "file")


def test_checksums_are_those_of_git_and_of_sha256(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"hello\n")
    git = "ce013625030ba8dba906f756967f9e9ca394464a"  # git hash-object
    sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
    assert download.matches(tmp_path / "file", Checksum("git", git))
    assert download.matches(tmp_path / "file", Checksum("sha256", sha256))
    assert not download.matches(tmp_path / "file", Checksum("sha256", git))
