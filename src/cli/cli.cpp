// SPDX-License-Identifier: Apache-2.0
#include "cli/cli.hpp"

#include "cli/output.hpp"
#include "cli/parser.hpp"

#include <CLI/CLI.hpp>

#include <cstdio>

namespace culvert::cli {

int run(int argc, const char* const* argv) {
    Parsed parsed;
    const auto app = make_parser(parsed);
    try {
        app->parse(argc, argv);
    } catch (
        const CLI::ParseError& stopped) {  // --help and --version come this way too, with status 0
        return app->exit(stopped) == 0 ? 0 : 2;
    }
    auto status = parsed.command();
    std::fflush(stdout);
    if (!status) {
        print_error(status.error());
        return exit_code(status.error());
    }
    return *status;
}

}  // namespace culvert::cli
