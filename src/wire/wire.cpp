// SPDX-License-Identifier: Apache-2.0
#include "wire/wire.hpp"

#include "model/types.hpp"
#include "wire/reader.hpp"
#include "wire/show.hpp"

namespace culvert::wire {
namespace json = boost::json;

std::string etag(std::int64_t revision) { return fmt::format("W/\"{}\"", revision); }

Read<std::map<std::string, std::string>> read_tags(const json::value& body) {
    std::vector<Error> errors;
    const Reader reader(&body, "", errors);
    auto tags = read_tag_map(reader);
    if (errors.empty() && !reader.has("tags")) {
        reader.missing("tags", "a PATCH changes tags alone");
    }
    if (!errors.empty()) {
        return std::unexpected(std::move(errors));
    }
    return tags;
}

template <>
Read<model::ResourceGroup> read(const json::value& body, const model::ResourceId& id) {
    return read_body<model::ResourceGroup>(body,
                                           [&](const Reader& reader, model::ResourceGroup& group) {
                                               read_resource(reader, id, group);
                                           });
}

json::object show(const model::ResourceGroup& value, const GroupView& /*view*/) {
    // az prints a group's tags as they are: null when absent
    return resource(value, "", element_properties(value));
}

std::optional<json::array> children(const json::object& shown, std::string_view type) {
    const json::value* properties = shown.if_contains("properties");
    if (properties == nullptr || !properties->is_object()) {
        return std::nullopt;
    }
    for (const auto& member : properties->get_object()) {
        if (member.value().is_array() && model::same_name(member.key(), type)) {
            return member.value().get_array();
        }
    }
    return std::nullopt;
}

std::optional<json::object> child(const json::object& shown, std::string_view type,
                                  std::string_view name) {
    const auto all = children(shown, type);
    for (std::size_t i = 0; all && i < all->size(); ++i) {
        const json::object* one = (*all)[i].if_object();
        const json::value* its_name = one == nullptr ? nullptr : one->if_contains("name");
        if (its_name != nullptr && its_name->is_string() &&
            model::same_name(std::string_view(its_name->get_string()), name)) {
            return *one;
        }
    }
    return std::nullopt;
}

}  // namespace culvert::wire
