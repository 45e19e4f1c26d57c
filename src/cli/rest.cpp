// SPDX-License-Identifier: Apache-2.0
#include "cli/commands.hpp"
#include "cli/output.hpp"
#include "cli/session.hpp"

#include <fmt/format.h>
#include <boost/json.hpp>

#include <iostream>
#include <iterator>

namespace culvert::cli {
namespace {

Result<std::string> body_of(const std::string& given) {
    if (given == "-") {
        return std::string(std::istreambuf_iterator<char>(std::cin), {});
    }
    if (given.starts_with('@')) {
        return read_file(given.substr(1));
    }
    return given;
}

}  // namespace

Result<int> run_rest(const Settings& settings, const RestOptions& options) {
    auto body = body_of(options.body);
    if (!body) {
        return std::unexpected(prefixed(body.error(), "--body"));
    }
    auto session = Session::open(settings);
    if (!session) {
        return std::unexpected(session.error());
    }
    std::string target = options.target;
    const auto& base = (*session)->credentials().control;
    if (target.starts_with(base)) {  // a nextLink or a polling URL is absolute
        target = target.substr(base.size());
    }
    if (!target.starts_with('/')) {
        return fail(Code::kInvalidArgument,
                    fmt::format("rest: \"{}\" is no path of {}; begin it with a slash",
                                options.target, base),
                    "PATH");
    }
    if (!options.api_version.empty()) {
        target +=
            (target.contains('?') ? "&" : "?") + std::string("api-version=") + options.api_version;
    }
    auto answer = (*session)->send(options.method, target, *body);
    if (!answer) {
        return std::unexpected(answer.error());
    }
    if (options.status_line) {
        fmt::print("{}\n", answer->status);
    }
    boost::system::error_code bad;
    const auto parsed = boost::json::parse(answer->body, bad);
    if (!answer->body.empty()) {
        fmt::print("{}\n", bad ? answer->body : pretty(parsed));
    }
    return answer->status == 404 ? 3 : answer->status >= 400 ? 1 : 0;
}

}  // namespace culvert::cli
