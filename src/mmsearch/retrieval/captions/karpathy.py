"""Karpathy's JSON: `dataset_*.json` of Flickr8k, Flickr30k and COCO."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from mmsearch.errors import DataError
from mmsearch.retrieval.captions.data import Found, Problem, Row, Source

SUFFIXES = (".json",)


def find_karpathy(folder: Path) -> list[Source]:
    """Find the one `dataset*.json`; several are an error that asks to name one."""
    files = sorted(file for file in folder.glob("dataset*.json") if file.is_file())
    if len(files) > 1:
        raise DataError(
            f"{folder} holds {len(files)} data sets ({', '.join(file.name for file in files)}); "
            "give one of these files"
        )
    return [Source(file) for file in files]


def read_karpathy(source: Source) -> Iterator[Found]:
    """Yield a row per sentence (`raw`); problems name the image's place in the list.

    Raises DataError when the file is not JSON with a list of images.
    """
    for number, image in enumerate(_images(source.file)):
        where = f"{source.file}:images[{number}]"
        if isinstance(image, dict):
            yield from _sentences(image, source.split, where)
        else:
            yield Problem(where, "not an object with filename, split and sentences")


def _images(file: Path) -> list[object]:
    try:
        value: object = json.loads(file.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{file}:{error.lineno}: not JSON ({error.msg})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is not JSON ({error})") from error
    images = value.get("images") if isinstance(value, dict) else None
    if not isinstance(images, list):
        raise DataError(f'{file} is no Karpathy data set: it has no list of "images"')
    return images


def _sentences(image: Mapping[str, object], split: str | None, where: str) -> Iterator[Found]:
    name, folder, given = (image.get(key) for key in ("filename", "filepath", "split"))
    sentences = image.get("sentences")
    if not isinstance(name, str):
        yield Problem(where, "no filename")
    elif not isinstance(sentences, list) or not sentences:
        yield Problem(where, f"no sentences for {name}")
    else:
        names = (f"{folder}/{name}", name) if isinstance(folder, str) and folder else (name,)
        split = split or (given if isinstance(given, str) else None)
        for sentence in sentences:
            raw = sentence.get("raw") if isinstance(sentence, dict) else None
            if isinstance(raw, str):
                yield Row(names, raw, split, where)
            else:
                yield Problem(where, f"a sentence of {name} has no raw text")
