#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Counts test cases in JUnit-like XML files (GoogleTest's, pytest's, CTest's).

  count_tests.py [--ctest FILE] PATH...

Prints "passed failed skipped". PATH is an XML file or a directory of them. FILE is CTest's own
report about the executables: one that failed without a failed case of its own (it crashed, hung, or
did not start) counts as one failure more. Failed names go to stderr.
"""
import argparse
import pathlib
import sys
import xml.etree.ElementTree as ElementTree


def outcome(case):
    """passed, failed or skipped, for one <testcase>"""
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    if case.get("status") == "fail":
        return "failed"
    idle = case.get("status") in ("notrun", "disabled") or case.get("result") in (
        "skipped",
        "suppressed",
    )
    return "skipped" if idle or case.find("skipped") is not None else "passed"


def cases(path):
    """(name, outcome) of each test case in a file; a file that is no XML is one failure"""
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, OSError) as error:
        return [(f"{path}: {error}", "failed")]
    return [
        (f"{case.get('classname', '')}.{case.get('name')}", outcome(case))
        for case in root.iter("testcase")
    ]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ctest")
    parser.add_argument("paths", nargs="*")
    args = parser.parse_args()
    found = {}
    for path in map(pathlib.Path, args.paths):
        files = sorted(path.rglob("*.xml")) if path.is_dir() else [path]
        for file in files:
            found[file.stem] = cases(file)
    if args.ctest:
        for name, result in cases(args.ctest):
            program = name.rsplit(".", 1)[-1]
            mine = found.setdefault(program, [])
            if not mine:
                mine.append((program, result))
            elif result == "failed" and not any(how == "failed" for _, how in mine):
                mine.append((f"{program} (the program itself)", "failed"))
    every = [case for group in found.values() for case in group]
    for name, result in every:
        if result == "failed":
            print(f"failed: {name}", file=sys.stderr)
    print(*(sum(how == kind for _, how in every) for kind in ("passed", "failed", "skipped")))


if __name__ == "__main__":
    main()
