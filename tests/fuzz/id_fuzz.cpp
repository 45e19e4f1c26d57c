// SPDX-License-Identifier: Apache-2.0
// Resource ids, addresses and prefixes from anyone: what parses prints itself and parses again to
// the same value; keys are lower case and safe as store keys.
#include "base/assert.hpp"
#include "model/types.hpp"
#include "net/address.hpp"

#include <cstddef>
#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace culvert;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    if (const auto id = model::ResourceId::parse(text)) {
        const auto again = model::ResourceId::parse(id->str());
        CULVERT_ASSERT(again && *again == *id && again->str() == id->str());
        CULVERT_ASSERT(id->key() == model::lower(id->str()));
        CULVERT_ASSERT(id->key().find('|') == std::string::npos);
        CULVERT_ASSERT(model::canonical(*id) == *id);
        CULVERT_ASSERT(id->key().starts_with(id->parent().key() == "/" ? "" : id->parent().key()));
        CULVERT_ASSERT(id->is_type(id->type()));
        (void)model::document_of(*id);
    }
    if (const auto address = net::Ipv4::parse(text)) {
        CULVERT_ASSERT(address->str() == text);
    }
    if (const auto prefix = net::Ipv4Prefix::parse(text)) {
        CULVERT_ASSERT(prefix->str() == text && prefix->contains(prefix->last()));
    }
    if (const auto mac = net::Mac::parse(text)) {
        CULVERT_ASSERT(net::Mac::parse(mac->str()) == *mac);
    }
    return 0;
}
