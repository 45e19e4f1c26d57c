# SPDX-License-Identifier: Apache-2.0
"""The rules themselves: each planted violation is reported, and its lawful twin is not."""
import pytest
import tidy_layers
import tidy_sizes
import tidy_words
from tidy_tree import Source, code_only, read_tree

SPDX = "// SPDX-License-Identifier: Apache-2.0\n"
LAYERS = "base:\nnet: base\nstore: base\nrules: net\ncontrol: base store rules\n"


def plant(tmp_path, files):
    """a tree with these files and a layer file"""
    for path, text in {"tools/layers.txt": LAYERS, **files}.items():
        place = tmp_path / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return read_tree(tmp_path)


# (rule, path, text that breaks it, text that does not)
PLANTED = [
    (
        tidy_layers.check_includes,
        "src/net/a.cpp",
        '#include "store/store.hpp"',
        '#include "base/x.hpp"',
    ),
    (
        tidy_layers.check_includes,
        "src/rules/a.hpp",
        ' # include "store/s.hpp"',
        '#include "rules/b.hpp"',
    ),
    (
        tidy_layers.check_includes,
        "bpf/a.bpf.c",
        '#include "net/mac.hpp"',
        "#include <bpf/bpf_helpers.h>",
    ),
    (tidy_layers.check_layer_file, "src/odd/a.cpp", "", None),
    (tidy_layers.check_layer_file, "tools/layers.txt", "net: base\nbase:\n", "base:\nnet: base\n"),
    (
        tidy_layers.check_layer_file,
        "tools/layers.txt",
        "store:\nnet: store\nrules: net\n",
        "store:\nnet:\nrules: net\n",
    ),
    (
        tidy_layers.check_owned_includes,
        "src/control/a.cpp",
        "#include <sqlite3.h>",
        "#include <map>",
    ),
    (tidy_layers.check_owned_includes, "src/net/a.cpp", "#include <boost/beast/core.hpp>", ""),
    (
        tidy_layers.check_owned_includes,
        "src/agent/a.cpp",
        '#include "generated/bpf/edge.skel.h"',
        "",
    ),
    (tidy_layers.check_pure, "src/rules/a.cpp", "#include <thread>", "#include <vector>"),
    (tidy_layers.check_pure, "src/rules/a.hpp", "#include <boost/asio/ip/tcp.hpp>", ""),
    (tidy_words.check_licences, "src/net/a.cpp", "#include <map>\n" + SPDX, SPDX),
    (tidy_words.check_licences, "dev", "#!/bin/bash\necho", "#!/bin/bash\n# " + SPDX),
    (tidy_words.check_licences, "bpf/a.bpf.c", SPDX, f"/* {tidy_words.BPF_LICENCE} */"),
    (tidy_words.check_hosts, "tools/x.txt", "http://deb." + "debian.org/debian", "the mirror"),
    (tidy_words.check_hosts, "README.md", "see /wor" + "k/main/dev", "see build/work/dev"),
    (tidy_words.check_kills, "tools/x.sh", "pki" + "ll nginx", 'kill "$pid"'),
    (tidy_words.check_kills, "tests/x.py", "run('kil" + "lall nginx')", "os.kill(pid, 15)"),
    (tidy_words.check_mutexes, "src/net/a.hpp", "std::mutex m;", "// std::mutex\nGuarded<int> m;"),
    (tidy_words.check_mutexes, "src/net/a.cpp", "std::shared_mutex m;", 'auto s = "std::mutex";'),
    (
        tidy_words.check_drop_exits,
        "bpf/a.bpf.c",
        "return TC_ACT_SHOT;",
        "/* TC_ACT_SHOT */ return 0;",
    ),
    (tidy_words.check_drop_exits, "bpf/a.h", "return TCX_DROP;", "#define TCX_DROP 2"),
    (
        tidy_words.check_drop_reasons,
        "src/abi/d.def",
        'CV_DROP(A, 1, x, "")\nCV_DROP(B, 1, x, "")\n',
        'CV_DROP(A, 1, x, "")\nCV_DROP(B, 2, x, "")\n',
    ),
    (tidy_words.check_lanes, "tools/lanes.txt", "ghost | | nothing runs it\n", "# none\n"),
    (tidy_words.check_lanes, "tests/ghost/x.py", "", None),
    (tidy_words.check_map_page, "ARCHITECTURE.md", "x\n" * 301, "x\n" * 300),
]


@pytest.mark.parametrize("rule,path,bad,good", PLANTED)
def test_a_planted_violation_is_reported(rule, path, bad, good, tmp_path):
    found = list(rule(plant(tmp_path, {path: bad})))
    assert found, f"{rule.__name__} does not see {bad!r}"
    assert str(found[0]).startswith(path.split(":")[0]) or "tools/" in str(found[0])


@pytest.mark.parametrize("rule,path,bad,good", [p for p in PLANTED if p[3] is not None])
def test_a_lawful_twin_is_not_reported(rule, path, bad, good, tmp_path):
    del bad
    assert not list(rule(plant(tmp_path, {path: good})))


@pytest.mark.parametrize(
    "path,owned",
    [
        ("src/datapath/loader.cpp", "#include <bpf/edge.skel.h>"),
        ("src/store/sqlite_store.cpp", "#include <sqlite3.h>"),
        ("src/http/server.cpp", "#include <boost/beast/core.hpp>"),
        ("src/base/guarded.hpp", "std::mutex mutex_;"),
        ("bpf/drop.h", "return TC_ACT_SHOT;"),
        ("bpf/stub.bpf.c", "return TC_ACT_SHOT;"),
    ],
)
def test_the_owner_may(path, owned, tmp_path):
    sources = plant(tmp_path, {path: owned})
    rules = (
        tidy_layers.check_owned_includes,
        tidy_words.check_mutexes,
        tidy_words.check_drop_exits,
    )
    assert not [found for rule in rules for found in rule(sources)]


def sizes(path, text):
    sources = [Source(path, text)]
    return [*tidy_sizes.check_lengths(sources), *tidy_sizes.check_functions(sources)]


@pytest.mark.parametrize(
    "path,limit", [("src/a/a.hpp", 250), ("src/a/a.h", 250), ("src/a/a.cpp", 600), ("x.py", 600)]
)
def test_files_at_the_limit_pass_and_one_line_beyond_fails(path, limit):
    assert not sizes(path, "\n" * limit)
    assert [f.rule for f in sizes(path, "\n" * (limit + 1))] == ["file"]


def test_lines_at_the_limit_pass_and_one_column_beyond_fails():
    assert not sizes("a.cpp", "x" * 100)
    assert [f.value for f in sizes("a.cpp", "x" * 101)] == [101]
    assert [f.value for f in sizes("a.h", "\t" + "x" * 93)] == [101]
    assert not sizes("README.md", "x" * 200)


FUNCTIONS = [
    "int f(int a) {\n%s}\n",
    "namespace a::b {\nnamespace {\nvoid C::f(const std::string& s) const noexcept {\n%s}\n}\n}\n",
    "struct S {\n  S() : a_{1}, b_(2) {\n%s}\n  int a_;\n};\n",
    "template <typename T>\nrequires true\nauto f(std::vector<T> v) -> std::pair<int, T> {\n%s}\n",
    'TEST(Suite, says_what_it_does) {\n%s}\n',
    'SEC("tc")\nint from_workload(struct __sk_buff *skb)\n{\n%s}\n',
    "static __always_inline int f(struct a *b)\n{\n%s}\n",
    "bool operator==(const A& a, const B& b) {\n%s}\n",
    "asio::awaitable<Result<int>> Front::handle(Request request) {\n%s}\n",
]


@pytest.mark.parametrize("shape", FUNCTIONS)
def test_a_long_function_is_found_in_every_shape(shape):
    for body, count in (("  if (x) { y(); }\n", 80), ("  auto l = [&] { z(); };\n", 80)):
        found = sizes("a.cpp", shape % (body * count))
        assert [f.rule for f in found] == ["function"], found
    assert not sizes("a.cpp", shape % ("  x();\n" * 60))


def test_a_function_of_exactly_the_limit_passes():
    body = "  x();\n"
    assert not sizes("a.cpp", "void f() {\n%s}\n" % (body * 68))
    assert [f.value for f in sizes("a.cpp", "void f() {\n%s}\n" % (body * 69))] == [71]
    assert not sizes("a.py", "def f():\n%s" % ("  x()\n" * 69))
    assert [f.value for f in sizes("a.py", "def f():\n%s" % ("  x()\n" * 70))] == [71]


@pytest.mark.parametrize(
    "text",
    [
        "struct Table {\n%s};\n",
        "const Row kRows[] = {\n%s};\n",
        "enum class E {\n%s};\n",
        "constexpr auto kAll = std::to_array<Row>({\n%s});\n",
    ],
)
def test_tables_are_no_functions(text):
    assert not sizes("a.cpp", text % ("  {1, 2},\n" * 90))


def test_the_baseline_allows_what_it_says_and_only_shrinks():
    found = sizes("a.cpp", "\n" * 700)
    judge = lambda entries: [str(f) for f in tidy_sizes.against_baseline(found, entries)]
    assert not judge({("file", "a.cpp"): 700})
    assert "allows 650" in judge({("file", "a.cpp"): 650})[0]
    assert "can shrink to 700" in judge({("file", "a.cpp"): 800})[0]
    gone = judge({("file", "a.cpp"): 700, ("file", "b.cpp"): 650})
    assert len(gone) == 1 and "b.cpp' is no longer needed" in gone[0]


def test_the_baseline_file_is_read():
    text = "# words\n\nfile a.cpp 700\nfunction a.cpp:f 71\n"
    expected = {("file", "a.cpp"): 700, ("function", "a.cpp:f"): 71}
    assert tidy_sizes.read_baseline(text) == expected


def test_comments_and_literals_are_blanked_and_lines_stay():
    text = "a /* {\n } */ b // {\n\"{\\\"\" '{' R\"x({\n)x\" 1'000 c"
    code = code_only(text)
    assert code.count("\n") == text.count("\n")
    assert "{" not in code and "}" not in code
    assert all(word in code for word in ("a ", " b ", "1'000", " c"))
