// SPDX-License-Identifier: Apache-2.0
// What the agent keeps in files as JSON objects.
#pragma once

#include "base/result.hpp"
#include "runtime/files.hpp"

#include <fmt/format.h>
#include <boost/json.hpp>

#include <exception>
#include <filesystem>
#include <type_traits>

namespace culvert::agent {

// The file's object as `read` understands it. Errors: kNotFound, others of reading; kCorrupt when
// it is no object or `read` throws.
template <typename Read>
Result<std::invoke_result_t<Read, const boost::json::object&>> load_json(
    const std::filesystem::path& path, Read&& read) {
    const auto content = runtime::read_file(path);
    if (!content) {
        return std::unexpected(content.error());
    }
    try {
        return read(boost::json::parse(*content).as_object());
    } catch (const std::exception& error) {
        return fail(Code::kCorrupt, fmt::format("read {}: {}", path.string(), error.what()));
    }
}

// The same where there may be no file: then it is `absent`.
template <typename T, typename Read>
Result<T> load_json_or(T absent, const std::filesystem::path& path, Read&& read) {
    auto out = load_json(path, read);
    return out || out.error().code != Code::kNotFound ? std::move(out)
                                                      : Result<T>(std::move(absent));
}

}  // namespace culvert::agent
