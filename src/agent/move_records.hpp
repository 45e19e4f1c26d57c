// SPDX-License-Identifier: Apache-2.0
// What a node has turned when it let a NIC go, one file a NIC: the entries of a connection whose
// backend has left do not say how it was translated, and an agent that starts anew must be able to
// turn them back. Files outlive the process, not a power loss, which takes the entries as well.
// Thread safety: strand-bound.
#pragma once

#include "agent/connection.hpp"
#include "base/result.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace culvert::agent {

class MoveRecords {
  public:
    explicit MoveRecords(std::filesystem::path folder) : folder_(std::move(folder)) {}

    // Errors: as runtime::replace_file.
    Status keep(std::uint32_t nic, const std::string& attachment,
                const std::vector<Connection>& turned) const;
    // Empty when nothing is kept of this move.
    std::vector<Connection> read(std::uint32_t nic, const std::string& attachment) const;
    void drop(std::uint32_t nic) const;
    // Drops what is kept of other NICs.
    void retain(const std::function<bool(std::uint32_t nic)>& wanted) const;

  private:
    std::filesystem::path file_of(std::uint32_t nic) const;

    const std::filesystem::path folder_;
};

}  // namespace culvert::agent
