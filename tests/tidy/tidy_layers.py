# SPDX-License-Identifier: Apache-2.0
"""Who may include whom: tools/layers.txt, and the names that are forbidden whatever it says."""
import re

from tidy_tree import Finding

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)

# module: modules that it must not reach, not even through another
FORBIDDEN = {
    "control": {"datapath", "abi"},  # it never knows map layouts
    "agent": {"store", "rules", "rbac"},  # it cannot decide again
    "rules": {"store"},  # admission sees a prefetched struct
    "gateway": {"store"},  # it trusts signed tickets and the control API
}

# (what may be included, by whom alone, in words)
OWNED = (
    (re.compile(r"\.skel\.h$"), re.compile(r"^src/datapath/loader[^/]*$"), "datapath/loader"),
    (re.compile(r"^sqlite3\.h$"), re.compile(r"^src/store/sqlite[^/]*$"), "store/sqlite"),
    (re.compile(r"^boost/beast"), re.compile(r"^src/http/"), "http/"),
)

# values in, values out: no sockets, files, threads, clocks, randomness
PURE = {"model", "wire", "token", "rbac", "rules", "intent", "template", "dnswire", "rdpwire"}
IMPURE = re.compile(
    r"^(thread|mutex|shared_mutex|condition_variable|future|fstream|iostream|filesystem|random"
    r"|unistd\.h|fcntl\.h|netdb\.h|sys/(socket|random|file|mman)\.h|boost/asio.*|grpcpp/.*)$"
)


def read_layers(text):
    """{module: set of modules it may use}, in the file's order"""
    layers = {}
    for line in text.splitlines():
        match = re.match(r"^([a-z]+):(.*)$", line)
        if match:
            layers[match.group(1)] = set(match.group(2).split())
    return layers


def reachable(layers, module):
    """every module that one reaches through others"""
    seen, todo = set(), list(layers.get(module, ()))
    while todo:
        one = todo.pop()
        if one not in seen:
            seen.add(one)
            todo += layers.get(one, ())
    return seen


def layers_of(sources):
    return read_layers(next((s.text for s in sources if s.path == "tools/layers.txt"), ""))


def check_layer_file(sources):
    """each module stands below those it uses, and no forbidden one can be reached"""
    layers = layers_of(sources)
    where, above = "tools/layers.txt", set()
    for module, uses in layers.items():
        for late in sorted(uses - above):
            yield Finding("layers", where, f"{module} uses {late}, which does not stand above it")
        for bad in sorted(FORBIDDEN.get(module, set()) & reachable(layers, module)):
            yield Finding("layers", where, f"{module} reaches {bad}, which is forbidden")
        above.add(module)
    for source in sources:
        if source.module and source.is_c and source.module not in layers:
            yield Finding("layers", source.path, f"module {source.module} is not in {where}")


def check_includes(sources):
    """every #include "module/..." is allowed by tools/layers.txt"""
    layers = layers_of(sources)
    for source in sources:
        if not source.is_c:
            continue
        for match in INCLUDE.finditer(source.text):
            mark, name = match.groups()
            top = name.split("/")[0]
            if mark != '"' or "/" not in name or top not in layers:
                continue
            if source.path.startswith("bpf/") and top != "abi":
                yield Finding("layers", source.path, f"bpf includes abi/ only, not {name}")
            module = source.module
            if module and top != module and top not in layers.get(module, set()):
                yield Finding("layers", source.path, f"{module} must not include {name}")


def check_owned_includes(sources):
    """libraries that one place alone may see"""
    for source in sources:
        if not source.is_c or source.path.startswith("tests/"):
            continue
        for match in INCLUDE.finditer(source.text):
            name = match.group(2)
            for what, owner, words in OWNED:
                if what.search(name) and not owner.search(source.path):
                    yield Finding("owner", source.path, f"only {words} includes {name}")


def check_pure(sources):
    """the pure modules include nothing that does I/O"""
    for source in sources:
        if not source.is_c or source.module not in PURE or source.is_test:
            continue
        for match in INCLUDE.finditer(source.text):
            if IMPURE.match(match.group(2)):
                text = f"{source.module} is pure and must not include <{match.group(2)}>"
                yield Finding("pure", source.path, text)
