# SPDX-License-Identifier: Apache-2.0
"""Small files, small functions (STYLE 12). Exceptions stand in tools/tidy_baseline.txt."""
import ast
import re

from tidy_tree import HEADER_SUFFIXES, Finding, code_only, line_of

HEADER_LINES = 250
SOURCE_LINES = 600
FUNCTION_LINES = 70
COLUMNS = 100
BASELINE = "tools/tidy_baseline.txt"

_CONTROL = {"if", "for", "while", "switch", "catch", "else", "do", "try", "return", "sizeof"}
_NAME = re.compile(r"(~?\w+|operator\s*[^\s\w(]+)\s*(?:<[^<>]*>)?\s*$")


def _is_ours(source):
    return source.is_c or source.is_python or source.is_shell


def check_lengths(sources):
    """lines of files, columns of lines"""
    for source in sources:
        if not _is_ours(source):
            continue
        limit = HEADER_LINES if source.suffix in HEADER_SUFFIXES else SOURCE_LINES
        count = len(source.lines)
        if count > limit:
            yield Finding("file", source.path, f"{count} lines, at most {limit}", count)
        longest = max((len(_columns(line)) for line in source.lines), default=0)
        if longest > COLUMNS:
            at = next(i for i, s in enumerate(source.lines, 1) if len(_columns(s)) == longest)
            text = f"line {at} has {longest} columns, at most {COLUMNS}"
            yield Finding("line", source.path, text, longest)


def _columns(line):
    return line.expandtabs(8)


def check_functions(sources):
    for source in sources:
        if source.is_c:
            found = c_functions(source.text)
        elif source.is_python:
            found = python_functions(source.text)
        else:
            continue
        for name, start, lines in found:
            if lines > FUNCTION_LINES:
                text = f"{name} at line {start} has {lines} lines, at most {FUNCTION_LINES}"
                yield Finding("function", f"{source.path}:{name}", text, lines)


def python_functions(text):
    """(name, first line, lines) of every function"""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node.lineno, node.end_lineno - node.lineno + 1


def c_functions(text):
    """(name, first line, lines) of every outermost function body, found by its braces"""
    code = re.sub(r"(?m)^[ \t]*#(?:[^\n\\]|\\.|\\\n)*", _blank_lines, code_only(text))
    open_braces, head_from, parens = [], 0, 0  # of each brace: is it in a function, its name
    for i, char in enumerate(code):
        if char == "(":
            parens += 1
        elif char in ")":
            parens = max(0, parens - 1)
        elif char == "{":
            inside = bool(open_braces) and open_braces[-1][0]
            head = code[head_from:i]
            name = None if inside else _function_name(head)
            first = i - len(head.lstrip())
            open_braces.append((inside or name is not None, name, first))
            head_from, parens = i + 1, 0
        elif char == "}":
            if open_braces:
                _, name, first = open_braces.pop()
                if name:
                    begin = line_of(code, first)
                    yield name, begin, line_of(code, i) - begin + 1
            head_from = i + 1
        elif char == ";" and parens == 0:
            head_from = i + 1


def _blank_lines(match):
    return "\n" * match.group(0).count("\n")


def _function_name(head):
    """the name in a function's head, None when the brace opens something else"""
    head = re.sub(r"\b(public|private|protected)\s*:", " ", head).strip()
    if not head or re.match(r"(inline\s+)?namespace\b|extern\b", head):
        return None
    if re.match(r"(template\s*<[^{}]*>\s*)?(class|struct|union|enum)\b[^()]*$", head):
        return None
    open_at = _first_parameter_list(head)
    if open_at is None or "=" in re.sub(r"operator\s*[=!<>]=?=?", "", head[:open_at]):
        return None
    match = _NAME.search(head[:open_at])
    if not match or match.group(1) in _CONTROL:
        return None
    if re.fullmatch(r"TEST(_F|_P)?|TYPED_TEST", match.group(1)):
        inner = head[open_at + 1 :].split(")")[0]
        return ".".join(part.strip() for part in inner.split(","))
    return re.sub(r"\s+", "", match.group(1))


def _first_parameter_list(head):
    """where the parameter list opens; template arguments and attributes are stepped over"""
    angle = 0
    for i, char in enumerate(head):
        if char == "<":
            angle += 1
        elif char == ">" and head[i - 1 : i] != "-":
            angle = max(0, angle - 1)
        elif char == "(" and angle == 0:
            before = head[:i].rstrip()
            if re.search(r"\b(__attribute__|alignas|decltype|requires|SEC|noexcept)$", before):
                angle = 0
                continue
            if before.endswith("("):
                continue
            if re.search(r"[\w>=!+\-*/<\]\[~)]$", before) or before.endswith("operator"):
                return i
    return None


def read_baseline(text):
    """{(rule, where): value} of lines "rule where value" """
    entries = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            rule, where, value = line.split()
            entries[rule, where] = int(value)
    return entries


def against_baseline(findings, baseline):
    """findings that the baseline does not allow, and baseline entries that could shrink"""
    worst = {}
    for found in findings:
        key = (found.rule, found.where)
        if key not in worst or worst[key].value < found.value:
            worst[key] = found
    for key, found in worst.items():
        allowed = baseline.get(key)
        if allowed is None:
            yield found
        elif found.value > allowed:
            text = f"{found.text}; {BASELINE} allows {allowed}"
            yield Finding(found.rule, found.where, text, found.value)
    for (rule, where), allowed in baseline.items():
        now = worst.get((rule, where))
        if now is None:
            yield Finding("baseline", BASELINE, f"'{rule} {where}' is no longer needed")
        elif now.value < allowed:
            yield Finding("baseline", BASELINE, f"'{rule} {where}' can shrink to {now.value}")
