// SPDX-License-Identifier: Apache-2.0
// Which interface stands for which NIC: kept in a file, so that an agent that starts again finds
// the interfaces it made.
// Thread safety: strand-bound.
#pragma once

#include "base/result.hpp"

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

namespace culvert::agent {

struct Binding {
    std::string nic_id;      // as ARM wrote it
    std::string attachment;  // of the intent when it was plumbed; another one makes this stale
    std::uint32_t index = 0;
    std::string netns;  // path as given; empty: a TAP interface
    std::uint64_t netns_device = 0;
    std::uint64_t netns_inode = 0;
    std::string ifname;
    // Not empty: the NIC is on its way here, the interface still has this name inside and does not
    // stand in for it yet.
    std::string waiting{};
    // Made for a move that has not settled: if it is called off, the interface that it stands in
    // for stands back.
    bool on_trial = false;
    std::string host_ifname;
    std::uint32_t ifindex = 0;  // of the host's side; 0: the kernel has no such interface. Not kept

    std::optional<std::uint32_t> tap_user{};  // who may open it, besides root

    bool is_tap() const { return netns.empty(); }
    bool same_namespace(std::uint64_t device, std::uint64_t inode) const {
        return netns_device == device && netns_inode == inode;
    }
    bool operator==(const Binding&) const = default;
};

// By NIC index: one NIC, one interface.
using Bindings = std::map<std::uint32_t, Binding>;

// A missing file is no bindings. Errors: kCorrupt.
Result<Bindings> load_bindings(const std::filesystem::path& path);
Status save_bindings(const std::filesystem::path& path, const Bindings& bindings);

}  // namespace culvert::agent
