#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs clang-tidy-19 over the sources of a build directory; one case a file, as its own module
compiles it (fuzz targets and test layouts compile some again).

  lint.py BUILD_DIR COUNTS_FILE [PATH-PART...]

A file that was clean is not read again until it, one of our headers that it includes (as Ninja
recorded when it compiled), its command or .clang-tidy changes. Cache: ~/.cache/culvert-lint.
"""
import concurrent.futures
import hashlib
import json
import os
import pathlib
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE_HOME = os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")
CACHE = pathlib.Path(CACHE_HOME) / "culvert-lint"


def recorded_headers(build):
    """{object: files that its compilation read}"""
    out = subprocess.run(
        ["ninja", "-C", build, "-t", "deps"], capture_output=True, text=True, check=False
    ).stdout
    found, current = {}, None
    for line in out.splitlines():
        if line and not line.startswith((" ", "ninja:")):
            current = found.setdefault(line.split(":")[0], [])
        elif line.strip() and current is not None:
            current.append(line.strip())
    return found


def object_of(entry):
    """what the entry's command makes, as Ninja names it"""
    words = shlex.split(entry["command"])
    return words[words.index("-o") + 1]


def key_of(entry, headers):
    """what the verdict on a file depends on, hashed"""
    digest = hashlib.sha256((ROOT / ".clang-tidy").read_bytes())
    digest.update(entry["command"].encode())
    ours = [entry["file"]]
    for path in headers:
        full = os.path.normpath(os.path.join(entry["directory"], path))
        if full.startswith(str(ROOT)):
            ours.append(full)
    for path in sorted(set(ours)):
        if os.path.isfile(path) and not path.endswith((".pch", ".gch")):
            digest.update(path.encode() + pathlib.Path(path).read_bytes())
    return digest.hexdigest()


def lint(entry, key, build):
    """(file, clean, what clang-tidy said)"""
    mark = CACHE / key
    if mark.exists():
        return entry["file"], True, ""
    done = subprocess.run(
        ["clang-tidy-19", "--quiet", "-p", build, entry["file"]],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        mark.touch()
    return entry["file"], done.returncode == 0, done.stdout + done.stderr


def main():
    build, counts, parts = sys.argv[1], sys.argv[2], sys.argv[3:]
    CACHE.mkdir(parents=True, exist_ok=True)
    headers = recorded_headers(build)
    entries = {}
    for entry in json.loads((pathlib.Path(build) / "compile_commands.json").read_text()):
        path = os.path.relpath(entry["file"], ROOT)
        wanted = path.startswith("src/") and not path.endswith("_test.cpp")
        if wanted and (not parts or any(part in path for part in parts)):
            module = f"culvert_{pathlib.Path(path).parts[1]}.dir"
            if path not in entries or f"/{module}/" in object_of(entry):
                entries[path] = entry
    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [
            pool.submit(lint, e, key_of(e, headers.get(object_of(e), [])), build)
            for e in entries.values()
        ]
        for job in concurrent.futures.as_completed(jobs):
            path, clean, words = job.result()
            passed, failed = passed + clean, failed + (not clean)
            if not clean:
                print(f"{os.path.relpath(path, ROOT)}:\n{words}", flush=True)
    pathlib.Path(counts).write_text(f"{passed} {failed} 0\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
