// SPDX-License-Identifier: Apache-2.0
// Shared by the tests of wire/: ids, parsing, looking into JSON by path.
#pragma once

#include "wire/wire.hpp"

#include <gtest/gtest.h>
#include <boost/json.hpp>

#include <string>
#include <string_view>
#include <type_traits>

namespace culvert::wire::testing {

inline constexpr std::string_view kGroup =
    "/subscriptions/11111111-1111-4111-8111-111111111111/resourceGroups/Rg1";

inline model::ResourceId group_id() { return *model::ResourceId::parse(kGroup); }
// An id below Microsoft.Network of the group: network_id("virtualNetworks/Vnet1/subnets/s").
inline model::ResourceId network_id(std::string_view tail) {
    auto id = model::ResourceId::parse(std::string(kGroup) + "/providers/Microsoft.Network/" +
                                       std::string(tail));
    EXPECT_TRUE(id) << tail;
    return id.value_or(model::ResourceId{});
}

// JSON with NW/ for the ids' prefix, as bodies are long enough without it.
inline boost::json::value json_of(std::string text) {
    const std::string full = std::string(kGroup) + "/providers/Microsoft.Network/";
    for (std::size_t at = text.find("NW/"); at != std::string::npos; at = text.find("NW/", at)) {
        text.replace(at, 3, full);
        at += full.size();
    }
    return boost::json::parse(text);
}

// A place in a document, comparable with what is expected there.
struct Place {
    const boost::json::value* value;

    operator const boost::json::value&() const { return *value; }
    // with text, an array or any other JSON
    template <typename T>
    bool operator==(const T& other) const {
        if constexpr (std::is_convertible_v<T, std::string_view>) {
            const auto* string = value->if_string();
            return string != nullptr && std::string_view(*string) == std::string_view(other);
        } else if constexpr (std::is_same_v<T, boost::json::array>) {
            return value->is_array() && value->get_array() == other;
        } else {
            return *value == other;
        }
    }
};
inline void PrintTo(const Place& place, std::ostream* out) { *out << *place.value; }

// By pointer: "/properties/subnets/0/name".
inline Place at(const boost::json::value& value, std::string_view pointer) {
    static const boost::json::value none = "(absent)";
    boost::system::error_code error;
    const auto* found = value.find_pointer({pointer.data(), pointer.size()}, error);
    return {found == nullptr ? &none : found};
}

template <typename T>
T read_ok(const std::string& body, const model::ResourceId& id) {
    auto value = read<T>(json_of(body), id);
    if (!value) {
        for (const auto& error : value.error()) {
            ADD_FAILURE() << error.arm_code << " " << error.target << ": " << error.message;
        }
        return {};
    }
    return *value;
}

// "target code" of every error, in order
template <typename T>
std::vector<std::string> read_errors(const std::string& body, const model::ResourceId& id) {
    auto value = read<T>(json_of(body), id);
    std::vector<std::string> out;
    if (value) {
        ADD_FAILURE() << "accepted: " << body;
        return out;
    }
    for (const auto& error : value.error()) {
        EXPECT_EQ(error.code, Code::kInvalidArgument);
        EXPECT_NE(error.message.find(error.target), std::string::npos) << error.message;
        out.push_back(error.target + " " + error.arm_code);
    }
    return out;
}

}  // namespace culvert::wire::testing
