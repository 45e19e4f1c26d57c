// SPDX-License-Identifier: Apache-2.0
// Bodies and stored documents from anyone. The first byte chooses the type and whether the rest is
// a body or a document. A body that is read is a value that survives being stored, shown and
// judged; a document that is decoded is one that encode would write again.
#include "base/assert.hpp"
#include "base/limits.hpp"
#include "rules/rules.hpp"
#include "wire/wire.hpp"

#include <boost/json.hpp>

#include <cstddef>
#include <cstdint>

namespace culvert {
namespace {

model::ResourceId id_of(std::string_view tail) {
    return *model::ResourceId::parse(
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/" + std::string(tail));
}

boost::json::value parse(std::string_view text) {
    boost::system::error_code error;
    boost::json::parse_options options;
    options.max_depth = limits::kJsonDepth;
    auto value = boost::json::parse({text.data(), text.size()}, error, {}, options);
    return error ? boost::json::value() : std::move(value);
}

void judge(const auto& value) {
    if constexpr (requires { rules::validate(value); }) {
        for (const auto& error : rules::validate(value)) {
            CULVERT_ASSERT(!error.arm_code.empty() && !error.target.empty());
        }
    }
}

template <typename T, typename View>
void body(std::string_view text, std::string_view tail) {
    const auto value = wire::read<T>(parse(text), id_of(tail));
    if (!value) {
        CULVERT_ASSERT(!value.error().empty() && value.error().size() <= limits::kErrorsPerBody);
        return;
    }
    const auto back = wire::decode<T>(wire::encode(*value));
    CULVERT_ASSERT(back && *back == *value);
    const auto shown = wire::show(*value, View{});
    CULVERT_ASSERT(!boost::json::serialize(shown).empty());
    judge(*value);
}

template <typename T>
void document(std::string_view text) {
    const auto value = wire::decode<T>(text);
    if (value) {
        const auto back = wire::decode<T>(wire::encode(*value));
        CULVERT_ASSERT(back && *back == *value);
    } else {
        CULVERT_ASSERT(value.error().code == Code::kCorrupt);
    }
}

template <typename T, typename View>
void either(bool stored, std::string_view text, std::string_view tail) {
    if (stored) {
        document<T>(text);
    } else {
        body<T, View>(text, tail);
    }
}

}  // namespace
}  // namespace culvert

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace culvert;
    if (size == 0) {
        return 0;
    }
    const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
    const bool stored = (data[0] & 8) != 0;
    switch (data[0] & 7) {
        case 0:
            either<model::ResourceGroup, wire::GroupView>(stored, text, "virtualNetworks/x");
            break;
        case 1:
            either<model::VirtualNetwork, wire::NetworkView>(stored, text, "virtualNetworks/v");
            break;
        case 2:
            either<model::NetworkInterface, wire::NicView>(stored, text, "networkInterfaces/n");
            break;
        case 3:
            either<model::LoadBalancer, wire::BalancerView>(stored, text, "loadBalancers/l");
            break;
        case 4:
            either<model::PrivateLinkService, wire::ServiceView>(stored, text,
                                                                 "privateLinkServices/p");
            break;
        case 5:
            either<model::PrivateEndpointConnection, wire::ConnectionView>(
                stored, text, "privateLinkServices/p/privateEndpointConnections/c");
            break;
        case 6:
            either<model::PrivateEndpoint, wire::EndpointView>(stored, text, "privateEndpoints/e");
            break;
        default: {
            const auto value = parse(text);
            (void)wire::read<model::Subnet>(value, id_of("virtualNetworks/v/subnets/s"));
            (void)wire::read<model::BackendPool>(value,
                                                 id_of("loadBalancers/l/backendAddressPools/b"));
            (void)wire::read<model::InboundNatRule>(value,
                                                    id_of("loadBalancers/l/inboundNatRules/r"));
            (void)wire::read_port_query(value);
            (void)wire::read_tags(value);
            (void)wire::gives_subnets(value);
        }
    }
    return 0;
}
