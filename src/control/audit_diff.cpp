// SPDX-License-Identifier: Apache-2.0
#include "control/audit.hpp"
#include "model/resource_id.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace culvert::control {
namespace {

namespace json = boost::json;

constexpr std::string_view kSecret = "(secret)";

bool speaks_of_secrets(std::string_view name) {
    const std::string lower = model::lower(name);
    static constexpr std::string_view kWords[] = {"secret", "password", "hash", "privatekey"};
    return std::ranges::any_of(
        kWords, [&](std::string_view word) { return lower.find(word) != lower.npos; });
}

// A value without the secrets in it.
json::value redacted(const json::value& value) {
    if (const auto* object = value.if_object()) {
        json::object out;
        for (const auto& member : *object) {
            out[member.key()] =
                speaks_of_secrets(member.key()) ? json::value(kSecret) : redacted(member.value());
        }
        return out;
    }
    if (const auto* array = value.if_array()) {
        json::array out;
        for (const auto& each : *array) {
            out.push_back(redacted(each));
        }
        return out;
    }
    return value;
}

class Diff {
  public:
    void compare(const std::string& path, const json::value* before, const json::value* after) {
        if (before != nullptr && after != nullptr) {
            if (*before == *after) {
                return;
            }
            if (before->is_object() && after->is_object()) {
                compare_objects(path, before->get_object(), after->get_object());
                return;
            }
            if (before->is_array() && after->is_array()) {
                compare_arrays(path, before->get_array(), after->get_array());
                return;
            }
        }
        json::object entry{{"path", path}};
        const bool secret = speaks_of_secrets(path.substr(path.rfind('.') + 1));
        if (before != nullptr) {
            entry["before"] = secret ? json::value(kSecret) : redacted(*before);
        }
        if (after != nullptr) {
            entry["after"] = secret ? json::value(kSecret) : redacted(*after);
        }
        out_.push_back(std::move(entry));
    }

    json::array take() { return std::move(out_); }

  private:
    void compare_objects(const std::string& path, const json::object& before,
                         const json::object& after) {
        const auto below = [&](std::string_view name) {
            return path.empty() ? std::string(name) : fmt::format("{}.{}", path, name);
        };
        for (const auto& member : before) {
            compare(below(member.key()), &member.value(), after.if_contains(member.key()));
        }
        for (const auto& member : after) {
            if (!before.contains(member.key())) {
                compare(below(member.key()), nullptr, &member.value());
            }
        }
    }

    void compare_arrays(const std::string& path, const json::array& before,
                        const json::array& after) {
        for (std::size_t i = 0; i < std::max(before.size(), after.size()); ++i) {
            compare(fmt::format("{}[{}]", path, i), i < before.size() ? &before[i] : nullptr,
                    i < after.size() ? &after[i] : nullptr);
        }
    }

    json::array out_;
};

}  // namespace

json::array diff_of(const json::value& before, const json::value& after) {
    Diff diff;
    static const json::value kNone = json::object{};
    diff.compare("", before.is_null() ? &kNone : &before, after.is_null() ? &kNone : &after);
    return diff.take();
}

}  // namespace culvert::control
