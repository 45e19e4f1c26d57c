// SPDX-License-Identifier: Apache-2.0
#include "agent/six.hpp"

#include "abi/six.h"
#include "agent/applier.hpp"

#include <algorithm>

namespace culvert::agent {

namespace {

// `bytes`: 16 of them or none, as the intent has them.
std::optional<net::Ipv6> six_of(const std::string& bytes) {
    net::Ipv6 out;
    std::copy_n(bytes.begin(), std::min(bytes.size(), out.bytes.size()), out.bytes.begin());
    return bytes.empty() ? std::nullopt : std::optional(out);
}

}  // namespace

std::optional<net::Ipv6> six_of(const api::Nic& nic) { return six_of(nic.six()); }
std::optional<net::Ipv6> six_of(const api::Address& address) { return six_of(address.six()); }

net::Ipv4 stand_in_of_nic(std::uint32_t index) { return {CV_SIX_NIC | index}; }
net::Ipv4 stand_in_of_link(std::uint32_t id) { return {CV_SIX_ENDPOINT | id}; }

std::optional<datapath::SixImage> six_image(const api::Nic& nic) {
    const auto six = six_of(nic);
    if (!six) {
        return std::nullopt;
    }
    return datapath::SixImage{.vnet = nic.vnet(),
                              .name = stand_in_of_nic(nic.index()),
                              .address = *six,
                              .reached = false};
}

std::optional<datapath::SixImage> six_image(const api::Address& address) {
    const auto six = six_of(address);
    if (!six) {
        return std::nullopt;
    }
    const bool endpoint = address.kind() == api::ADDRESS_ENDPOINT;
    return datapath::SixImage{
        .vnet = address.vnet(),
        .name = endpoint ? stand_in_of_link(address.id()) : net::Ipv4{address.address()},
        .address = *six,
        .reached = true};
}

SixNames::SixNames(const State& state, const std::map<std::uint32_t, datapath::SixImage>& nics) {
    for (const auto& [index, image] : nics) {
        names_.emplace(image.vnet, image.name);
    }
    for (const auto& [key, object] : state.objects()) {
        const auto image = object.has_address() ? six_image(object.address()) : std::nullopt;
        if (!image) {
            continue;
        }
        names_.emplace(image->vnet, image->name);
        addresses_.emplace(image->vnet, image->address);
        if (object.address().kind() == api::ADDRESS_ENDPOINT) {
            endpoints_.emplace(image->vnet, image->name);
        }
    }
}

bool SixNames::is_endpoint(std::uint32_t vnet, net::Ipv4 stand_in) const {
    return endpoints_.contains({vnet, stand_in});
}
bool SixNames::has(std::uint32_t vnet, net::Ipv4 name) const {
    return names_.contains({vnet, name});
}
bool SixNames::has(std::uint32_t vnet, const net::Ipv6& address) const {
    return addresses_.contains({vnet, address});
}

Status Applier::apply_six(std::uint32_t index, const std::optional<datapath::SixImage>& wish) {
    const auto held = sixes_.find(index);
    if (held != sixes_.end() && wish != held->second) {
        const auto before = held->second;
        sixes_.erase(held);
        CULVERT_TRY_STATUS(maps_.clear_six(before));
    }
    if (!wish) {
        return {};
    }
    CULVERT_TRY_STATUS(maps_.set_six(*wish));
    sixes_[index] = *wish;
    return {};
}

Status Applier::apply_six(const api::Address* before, const api::Address* wish) {
    const auto held = before == nullptr ? std::nullopt : six_image(*before);
    const auto image = wish == nullptr ? std::nullopt : six_image(*wish);
    if (held && held != image) {
        CULVERT_TRY_STATUS(maps_.clear_six(*held));
        if (before->kind() == api::ADDRESS_ENDPOINT) {
            CULVERT_TRY_STATUS(maps_.clear_address(held->vnet, held->name));
        }
    }
    if (!image) {
        return {};
    }
    if (wish->kind() == api::ADDRESS_ENDPOINT) {
        CULVERT_TRY_STATUS(maps_.set_address({.vnet = image->vnet,
                                              .address = image->name,
                                              .kind = CV_ADDRESS_ENDPOINT,
                                              .id = wish->id()}));
    }
    return maps_.set_six(*image);
}

}  // namespace culvert::agent
