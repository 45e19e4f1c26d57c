// SPDX-License-Identifier: Apache-2.0
#include "agent/six.hpp"

#include "abi/six.h"
#include "agent/applier.hpp"

#include <algorithm>

namespace culvert::agent {
namespace {

datapath::SixImage image_of(const api::Address& address) {
    return {.stand_in = stand_in_of_link(address.id()),
            .address = six_address(address.six()),
            .vnet = address.vnet()};
}

}  // namespace

net::Ipv6 six_address(const std::string& bytes) {
    net::Ipv6 out;
    std::copy_n(bytes.begin(), std::min(bytes.size(), out.bytes.size()), out.bytes.begin());
    return out;
}

std::optional<net::Ipv6> six_of(const api::Nic& nic) {
    return nic.six().empty() ? std::nullopt : std::optional(six_address(nic.six()));
}

net::Ipv4 stand_in_of_nic(std::uint32_t index) { return {CV_SIX_NIC | index}; }
net::Ipv4 stand_in_of_link(std::uint32_t id) { return {CV_SIX_ENDPOINT | id}; }

bool is_stand_in(net::Ipv4 address) { return (address.value & CV_SIX_PREFIX) == CV_SIX_PREFIX; }

std::optional<net::Ipv6> six_named(const State& state, std::uint32_t vnet, net::Ipv4 stand_in) {
    const std::uint32_t number = stand_in.value & CV_SIX_IDS;
    if (stand_in == stand_in_of_nic(number)) {
        const auto* nic = state.nic(number);
        return nic == nullptr ? std::nullopt : six_of(*nic);
    }
    const auto* link = state.find({api::Object::kLink, number, 0});
    const auto* address = link == nullptr
                              ? nullptr
                              : state.find({api::Object::kAddress, vnet, link->link().endpoint()});
    return address == nullptr || address->address().six().empty()
               ? std::nullopt
               : std::optional(six_address(address->address().six()));
}

SixNames::SixNames(const State& state, const std::map<std::uint32_t, std::string>& nics) {
    for (const auto& [index, address] : nics) {
        stand_ins_.insert(stand_in_of_nic(index));
    }
    for (const auto& [key, object] : state.objects()) {
        if (object.has_address() && !object.address().six().empty()) {
            const auto image = image_of(object.address());
            stand_ins_.insert(image.stand_in);
            endpoints_.emplace(image.vnet, image.stand_in);
            addresses_.emplace(image.vnet, image.address);
        }
    }
}

bool SixNames::has(std::uint32_t vnet, net::Ipv4 stand_in) const {
    return endpoints_.contains({vnet, stand_in});
}

bool SixNames::has(const datapath::SixImage& image) const {
    return image.vnet == 0 ? stand_ins_.contains(image.stand_in)
                           : addresses_.contains({image.vnet, image.address});
}

Status Applier::apply_six(const api::Nic& nic, bool here) {
    const auto held = sixes_.find(nic.index());
    if (here && !nic.six().empty()) {
        CULVERT_TRY_STATUS(maps_.set_six(
            {.stand_in = stand_in_of_nic(nic.index()), .address = six_address(nic.six())}));
        sixes_[nic.index()] = nic.six();
    } else if (held != sixes_.end()) {
        sixes_.erase(held);
        return maps_.clear_six({.stand_in = stand_in_of_nic(nic.index())});
    }
    return {};
}

Status Applier::set_endpoint_six(const api::Address& address) {
    if (address.six().empty()) {
        return {};
    }
    const auto image = image_of(address);
    CULVERT_TRY_STATUS(maps_.set_address({.vnet = image.vnet,
                                          .address = image.stand_in,
                                          .kind = CV_ADDRESS_ENDPOINT,
                                          .id = address.id()}));
    return maps_.set_six(image);
}

Status Applier::clear_endpoint_six(const api::Address& address) {
    const auto image = image_of(address);
    CULVERT_TRY_STATUS(maps_.clear_six(image));
    return maps_.clear_address(image.vnet, image.stand_in);
}

}  // namespace culvert::agent
