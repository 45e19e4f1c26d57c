// SPDX-License-Identifier: Apache-2.0
// Request targets, forms, ARM paths and filters from anyone. The first byte of an input chooses the
// decoder.
#include "base/assert.hpp"
#include "base/limits.hpp"
#include "control/front.hpp"
#include "control/front_filter.hpp"
#include "http/message.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace {

using namespace culvert;

bool clean(std::string_view text) {
    return std::ranges::none_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x20; });
}

// What decodes holds no control characters and decodes to itself once encoded.
void target(std::string_view text) {
    const auto parsed = http::parse_target(text);
    if (!parsed) {
        return;
    }
    CULVERT_ASSERT(clean(parsed->path) && parsed->query.size() <= limits::kHttpQueryFields);
    std::string again = "/" + http::percent_encode(parsed->path) + "?";
    for (const auto& [name, value] : parsed->query) {
        CULVERT_ASSERT(clean(name) && clean(value));
        again += http::percent_encode(name) + "=" + http::percent_encode(value) + "&";
    }
    const auto second = http::parse_target(again);
    CULVERT_ASSERT(second && second->path == "/" + parsed->path && second->query == parsed->query);
}

// A route names a type and a verb, and its id prints and parses again.
void route(std::string_view text) {
    static constexpr const char* kMethods[] = {"GET", "PUT", "POST", "DELETE", "HEAD"};
    for (const char* method : kMethods) {
        http::Request request;
        request.method = method;
        request.path = text;
        const auto found = control::route(request);
        if (!found) {
            CULVERT_ASSERT(found.error().code == Code::kNotFound ||
                           found.error().code == Code::kInvalidArgument);
            continue;
        }
        CULVERT_ASSERT(!found->type.empty() && !found->verb.empty());
        // a collection is never taken for a resource
        CULVERT_ASSERT(found->collection.empty() ||
                       (found->verb != "PUT" && found->verb != "DELETE"));
        if (found->arm && found->type != "Microsoft.Resources/providers") {
            const auto again = model::ResourceId::parse(found->id.str());
            CULVERT_ASSERT(again && *again == found->id);
        }
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) {
        return 0;
    }
    const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
    switch (data[0] % 5) {
        case 0: target(text); break;
        case 1: route(text); break;
        case 2: (void)http::parse_form(text, 64); break;
        case 3: (void)control::parse_filter(text); break;
        default: (void)control::check_api_version(text); break;
    }
    return 0;
}
