# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the lanes share. ./dev check sets CULVERT_ROOT, CULVERT_BUILD, CULVERT_BIN and LANE_DIR.
set -euo pipefail
cd "$CULVERT_ROOT"

PYTHON=/usr/bin/python3 # Debian's, which has pytest; a python3 earlier in PATH may not

# Leaves the lane's result.
counts() { echo "$1 $2 $3" >"$LANE_DIR/counts"; }

# configured PRESET DIR: writes the Ninja files.
configured() { cmake --preset "$1" -B "$2"; }

# labelled DIR LABEL: prints the test programs of a label.
labelled() {
    ctest --test-dir "$1" -N -L "^$2\$" | sed -n 's/^ *Test *#[0-9]*: //p'
}

# ctest_lane DIR LABEL [TESTS-REGEX]: runs the test programs of a label and counts their cases.
ctest_lane() {
    local dir=$1 label=$2 regex=${3:-.} status=0
    mkdir -p "$LANE_DIR/cases"
    GTEST_OUTPUT=xml:$LANE_DIR/cases/ GTEST_COLOR=no \
        ctest --test-dir "$dir" -L "^$label\$" -R "$regex" -j "$(nproc)" --timeout 600 \
        --no-tests=error --output-on-failure --output-junit "$LANE_DIR/ctest.xml" || status=$?
    "$PYTHON" tools/lanes/count_tests.py --ctest "$LANE_DIR/ctest.xml" "$LANE_DIR/cases" \
        >"$LANE_DIR/counts"
    return $status
}

# pytest_lane PATH: runs Python tests and counts them.
pytest_lane() {
    local status=0
    "$PYTHON" -m pytest -q -p no:cacheprovider --junitxml="$LANE_DIR/pytest.xml" "$1" ||
        status=$?
    "$PYTHON" tools/lanes/count_tests.py "$LANE_DIR/pytest.xml" >"$LANE_DIR/counts"
    return $status
}
