# SPDX-License-Identifier: Apache-2.0
"""STYLE.md's lexical rules, on this tree."""
import pathlib
import shutil
import subprocess

import pytest
import tidy_layers
import tidy_sizes
import tidy_words
from tidy_tree import read_tree

ROOT = pathlib.Path(__file__).resolve().parents[2]
RULES = [
    tidy_layers.check_layer_file,
    tidy_layers.check_includes,
    tidy_layers.check_owned_includes,
    tidy_layers.check_pure,
    tidy_words.check_licences,
    tidy_words.check_hosts,
    tidy_words.check_kills,
    tidy_words.check_mutexes,
    tidy_words.check_drop_exits,
    tidy_words.check_drop_reasons,
    tidy_words.check_lanes,
    tidy_words.check_map_page,
]


@pytest.fixture(scope="module", name="sources")
def the_sources():
    return read_tree(ROOT)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_tree_keeps(rule, sources):
    found = list(rule(sources))
    assert not found, "\n".join(map(str, found))


def test_the_tree_keeps_the_sizes_and_the_baseline_only_shrinks(sources):
    text = next((s.text for s in sources if s.path == tidy_sizes.BASELINE), "")
    sizes = [*tidy_sizes.check_lengths(sources), *tidy_sizes.check_functions(sources)]
    found = list(tidy_sizes.against_baseline(sizes, tidy_sizes.read_baseline(text)))
    assert not found, "\n".join(map(str, found))


def test_the_mirrors_of_this_machine_are_named_nowhere(sources):
    lines = subprocess.run(
        ["apt-get", "update", "--print-uris"], capture_output=True, text=True, check=False
    ).stdout.splitlines()
    hosts = {line.split("/")[2] for line in lines if line.count("/") > 2}
    found = [(s.path, host) for s in sources for host in hosts if host in s.text]
    assert not found


def test_shellcheck_is_content_with_every_script(sources):
    assert shutil.which("shellcheck"), "shellcheck is not installed: ./dev setup"
    scripts = [s.path for s in sources if s.is_shell]
    done = subprocess.run(
        ["shellcheck", "-x", *scripts], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
