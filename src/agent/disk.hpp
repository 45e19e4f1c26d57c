// SPDX-License-Identifier: Apache-2.0
// The last intent on disk: a log of deltas, each framed by length and CRC-32C, that begins with a
// snapshot. append() is one write and no fsync, so that it may stand before an acknowledgement: a
// killed process loses nothing. A timer makes it durable. After a power loss the kernel's maps are
// gone too, and the tail that is torn is cut off.
// Thread safety: strand-bound.
#pragma once

#include "agent/state.hpp"
#include "base/result.hpp"
#include "runtime/fd.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>

namespace culvert::agent {

class Disk {
  public:
    // Reads what is there into `state` (changes are committed, not applied). A file of another
    // format or without one good frame is set aside with a warning and nothing is read.
    // Errors: kPermissionDenied, kInternal.
    static Result<std::unique_ptr<Disk>> open(const std::filesystem::path& path, State& state);

    // A snapshot replaces the log, anything else is appended.
    Status append(const api::Delta& delta);
    // Rewrites the log as one snapshot once it has grown far beyond it. The state must be what the
    // log says.
    Status compact(const State& state);
    // What to fdatasync, with no lock held, so that all of append() is durable; empty when it is.
    runtime::Fd take_unsynced();

  private:
    explicit Disk(std::filesystem::path path) : path_(std::move(path)) {}
    Status load(State& state);
    Status reopen();
    Status replace(const api::Delta& snapshot);

    std::filesystem::path path_;
    runtime::Fd log_;
    std::uint64_t bytes_ = 0;           // of the log
    std::uint64_t snapshot_bytes_ = 0;  // of its first frame
    bool dirty_ = false;
};

}  // namespace culvert::agent
