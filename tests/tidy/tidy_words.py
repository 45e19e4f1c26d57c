# SPDX-License-Identifier: Apache-2.0
"""Rules about single words: licences, hosts, killing, mutexes, drop exits, the lane list."""
import re

from tidy_tree import Finding, code_only, line_of

LICENCE = "SPDX-License-Identifier: Apache-2.0"
BPF_LICENCE = "SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause"
LICENSED = {".cpp", ".hpp", ".c", ".h", ".def", ".proto", ".cmake", ".py", ".sh", ".ts", ".js"}

# one-letter classes keep these patterns from finding themselves
HOSTS = re.compile(
    r"[d]eb\.debian\.org|[s]ecurity\.debian\.org|[s]napshot\.debian\.org|[r]egistry\.npmjs\.org"
    r"|[d]ocker\.io/|[g]hcr\.io|[q]uay\.io|[p]ypi\.org|files\.[p]ythonhosted\.org|[a]rtifactory"
    r"|[p]kg\.dev\b|[p]roxy\.golang\.org|[c]rates\.io"
)
MACHINE_PATHS = re.compile(r"(?<![\w.])/[w]ork/|(?<![\w.])/[h]ome/\w+|/tmp/[G]UIDE")
KILL_BY_NAME = re.compile(r"\b[p]kill\b|\b[k]illall5?\b")
MUTEX = re.compile(r"\bstd::(recursive_|shared_|timed_|recursive_timed_)?mutex\b|\bpthread_mutex_")
LANES = "tools/lanes.txt"


def _grep(sources, pattern, rule, text, wanted):
    for source in sources:
        if not wanted(source):
            continue
        for match in pattern.finditer(source.text):
            where = f"{source.path}:{line_of(source.text, match.start())}"
            yield Finding(rule, where, text % match.group(0))


def check_licences(sources):
    """SPDX on line 1, or on line 2 below #!"""
    for source in sources:
        scripts = source.is_python or source.is_shell
        named = source.path.endswith("CMakeLists.txt")
        if source.suffix not in LICENSED and not scripts and not named:
            continue
        lines = source.lines + ["", ""]
        first = lines[1] if lines[0].startswith("#!") else lines[0]
        kernel = source.path.startswith(("bpf/", "src/abi/"))
        want = BPF_LICENCE if kernel else LICENCE
        if want not in first or (not kernel and " OR " in first):
            yield Finding("licence", source.path, f"the first line must say '{want}'")


def check_hosts(sources):
    """no mirror, registry or machine is named anywhere"""
    yield from _grep(sources, HOSTS, "host", "'%s' names a registry's host", lambda s: True)
    yield from _grep(sources, MACHINE_PATHS, "path", "'%s' is one machine's path", lambda s: True)


def check_kills(sources):
    """processes are ended by their id"""
    yield from _grep(
        sources, KILL_BY_NAME, "kill", "'%s' ends processes by name", lambda s: s.suffix != ".md"
    )


def check_mutexes(sources):
    """shared data sits inside Guarded<T>"""
    for source in sources:
        if source.suffix not in (".cpp", ".hpp") or source.path == "src/base/guarded.hpp":
            continue
        code = code_only(source.text)
        for match in MUTEX.finditer(code):
            where = f"{source.path}:{line_of(code, match.start())}"
            yield Finding("mutex", where, f"{match.group(0)}: use Guarded<T> of base/guarded.hpp")


def check_drop_exits(sources):
    """a BPF program drops through the counted exit of bpf/drop.h alone"""
    for source in sources:
        if not source.path.startswith("bpf/") or source.suffix not in (".c", ".h"):
            continue
        name = source.path.split("/")[-1]
        if name == "drop.h" or name.startswith("stub"):
            continue
        code = re.sub(r"(?m)^#define.*$", "", code_only(source.text))
        for match in re.finditer(r"\bTC_ACT_SHOT\b|\bXDP_DROP\b|\bTCX_DROP\b", code):
            where = f"{source.path}:{line_of(code, match.start())}"
            yield Finding("drop", where, f"{match.group(0)} is returned by bpf/drop.h alone")


def check_drop_reasons(sources):
    """numbers and symbols of src/abi/*.def are used once"""
    for source in sources:
        if not source.path.startswith("src/abi/") or source.suffix != ".def":
            continue
        symbols, numbers = set(), set()
        for match in re.finditer(r"^CV_\w+\((\w+),\s*(\d+)", source.text, re.MULTILINE):
            for value, seen in zip(match.groups(), (symbols, numbers)):
                if value in seen:
                    yield Finding("reused", source.path, f"{value} stands twice")
                seen.add(value)


def check_lanes(sources):
    """each lane of the list has its script, and each folder of tests/ its lane"""
    listed = set()
    paths = {source.path for source in sources}
    for line in next((s.text for s in sources if s.path == LANES), "").splitlines():
        if line and not line.startswith("#"):
            listed.add(line.split("|")[0].strip())
    folders = {path.split("/")[1] for path in paths if path.count("/") > 1 and path[:6] == "tests/"}
    for lane in sorted(listed):
        if f"tools/lanes/{lane}.sh" not in paths:
            yield Finding("lanes", LANES, f"lane {lane} has no tools/lanes/{lane}.sh")
    for folder in sorted(folders - listed - {"harness", "bench", "soak"}):
        yield Finding("lanes", LANES, f"tests/{folder} is no lane")


def check_map_page(sources):
    """ARCHITECTURE.md stays a map"""
    for source in sources:
        if source.path == "ARCHITECTURE.md" and len(source.lines) > 300:
            yield Finding("map", source.path, f"{len(source.lines)} lines, at most 300")
