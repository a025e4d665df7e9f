"""The size of what is uploaded to Lambda."""

import importlib.metadata
import io
import pathlib
import re
import zipfile


def binary(path):
    return _zipped([("bootstrap", path)])


def handler(folder):
    """The handler with boto3 and the runtime client, as a function that brings its own versions.

    Without byte code and without what only pip reads, so it is rather too small than too large.
    """
    files = [("boto3_handler.py", folder / "boto3_handler.py")]
    for distribution in map(importlib.metadata.distribution, closure("boto3", "awslambdaric")):
        for file in distribution.files:
            if file.suffix == ".pyc" or file.parts[0] == ".." or file.parts[0].endswith("-info"):
                continue
            files.append((str(file), file.locate()))
    return _zipped(files)


def closure(*names):
    """The names of the distributions with all that they require."""
    found, waiting = set(), list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        found.add(name)
        for requirement in importlib.metadata.requires(name) or []:
            requirement, _, condition = requirement.partition(";")
            if "extra" not in condition:
                waiting.append(re.match(r"[\w.-]+", requirement)[0])
    return sorted(found)


def versions(*names):
    return {name: importlib.metadata.version(name) for name in names}


def _zipped(files):
    packed, unpacked = io.BytesIO(), 0
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, path in files:
            content = pathlib.Path(path).read_bytes()
            archive.writestr(name, content)
            unpacked += len(content)
    return {"zip": len(packed.getvalue()), "unpacked": unpacked}
