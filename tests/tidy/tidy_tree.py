# SPDX-License-Identifier: Apache-2.0
"""A source tree as the rules see it: files by kind, and C++ text without comments and strings."""
import os
import pathlib
import re
from dataclasses import dataclass

SKIPPED_DIRS = {".git", "build", ".cache", "node_modules", "__pycache__", ".pytest_cache"}
C_SUFFIXES = {".cpp", ".hpp", ".c", ".h"}
HEADER_SUFFIXES = {".hpp", ".h"}


@dataclass(frozen=True)
class Finding:
    """One broken rule; `value` is the measured size where the rule is a size."""

    rule: str
    where: str
    text: str
    value: int = 0

    def __str__(self):
        return f"{self.where}: {self.rule}: {self.text}"


@dataclass(frozen=True)
class Source:
    path: str  # relative to the tree, with slashes
    text: str

    @property
    def suffix(self):
        return pathlib.PurePosixPath(self.path).suffix

    @property
    def lines(self):
        return self.text.splitlines()

    @property
    def module(self):
        """the module of a file in src/<module>/, else None"""
        parts = self.path.split("/")
        return parts[1] if len(parts) > 2 and parts[0] == "src" else None

    @property
    def is_test(self):
        return self.path.endswith("_test.cpp") or self.path.startswith("tests/")

    @property
    def is_c(self):
        return self.suffix in C_SUFFIXES

    @property
    def is_shell(self):
        if self.suffix in (".sh", ".bash"):
            return True
        return self.suffix == "" and re.match(r"#!.*\b(ba)?sh\b", self.text) is not None

    @property
    def is_python(self):
        if self.suffix == ".py":
            return True
        return self.suffix == "" and re.match(r"#!.*\bpython3?\b", self.text) is not None


def read_tree(root):
    """every text file below root, sorted by path"""
    root = pathlib.Path(root)
    sources = []
    for folder, dirs, names in os.walk(root):
        dirs[:] = sorted(d for d in dirs if d not in SKIPPED_DIRS)
        for name in sorted(names):
            path = pathlib.Path(folder) / name
            if path.is_symlink() or not path.is_file():
                continue
            data = path.read_bytes()
            if b"\0" in data[:8192] or name.endswith(".swp"):
                continue
            text = data.decode("utf-8", errors="replace")
            sources.append(Source(path.relative_to(root).as_posix(), text))
    return sources


_TOKENS = re.compile(
    r"//[^\n]*|/\*.*?\*/|R\"(?P<d>[^()\\ ]{0,16})\(.*?\)(?P=d)\"|\"(?:\\.|[^\"\\\n])*\""
    r"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])*'",
    re.DOTALL,
)


def code_only(text):
    """C or C++ with comments and literals blanked; line numbers stay"""

    def blank(match):
        found = match.group(0)
        lines = "\n" * found.count("\n")
        if found.startswith("/"):
            return " " + lines
        return found[0] + lines + found[-1] if found[0] != "R" else '""' + lines

    return _TOKENS.sub(blank, text)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1
