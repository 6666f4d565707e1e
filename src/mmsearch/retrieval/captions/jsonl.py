"""JSON lines, such as the `metadata.jsonl` of a Hugging Face image folder."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from mmsearch.retrieval.captions.csv_rows import CAPTION_COLUMNS, IMAGE_COLUMNS, find_tables
from mmsearch.retrieval.captions.data import Found, Problem, Row, Source
from mmsearch.retrieval.captions.lines import is_text, read_lines

SUFFIXES = (".jsonl", ".ndjson")
_CAPTION_KEYS = (*CAPTION_COLUMNS, "captions", "texts", "sentences")


def find_jsonl(folder: Path) -> list[Source]:
    """Find `captions_{train,dev,test}.jsonl`, `{train,…}/metadata.jsonl`, `metadata.jsonl`."""
    return find_tables(folder, SUFFIXES)


def read_jsonl(source: Source) -> Iterator[Found]:
    """Yield a row per caption, or a problem; a line is {"file_name", "text", "split"?}.

    The text may be a list of captions.
    """
    for number, line in read_lines(source.file):
        if line.strip():
            yield from _line(line, source.split, f"{source.file}:{number}")


def _line(line: str, split: str | None, where: str) -> Iterator[Found]:
    if not is_text(line):
        yield Problem(where, "bytes that are not UTF-8")
        return
    try:
        value: object = json.loads(line)
    except json.JSONDecodeError as error:  # its own line number would count from this line
        yield Problem(where, f"not JSON ({error.msg}, character {error.pos + 1})")
        return
    except (ValueError, RecursionError) as error:
        yield Problem(where, f"not JSON ({error})")
        return
    if not isinstance(value, dict):
        yield Problem(where, "not a JSON object with file_name and text")
        return
    yield from _entry(value, split, where)


def _entry(entry: Mapping[str, object], split: str | None, where: str) -> Iterator[Found]:
    image = next((entry[key] for key in IMAGE_COLUMNS if key in entry), None)
    text = next((entry[key] for key in _CAPTION_KEYS if key in entry), None)
    given = entry.get("split")
    if not isinstance(image, str):
        yield Problem(where, "no image name; the keys are file_name and text")
    elif given is not None and not isinstance(given, str):
        yield Problem(where, f"split must be a name, not {given!r}")
    else:
        captions = text if isinstance(text, list) else [text]
        if not captions:
            yield Problem(where, f"no caption for {image}")
        for caption in captions:
            if isinstance(caption, str):
                yield Row((image,), caption, split or given, where)
            else:
                yield Problem(
                    where, f"no caption text for {image}; the keys are file_name and text"
                )
