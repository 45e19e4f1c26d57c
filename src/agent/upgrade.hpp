// SPDX-License-Identifier: Apache-2.0
// The agent's program replaced in place: the new one is examined beside the running one (it loads
// its programs into the kernel without touching traffic), then this process becomes it by execve.
// The process id stays, so that a service manager sees nothing; traffic goes on in the kernel
// meanwhile. When the new program cannot start it becomes the old one again, through a descriptor
// of the old file that it was left. Thread safety: Upgrader is internally synchronized; hand_over
// and go_back on the main thread with no other thread of ours left.
#pragma once

#include "agent/run.hpp"
#include "base/guarded.hpp"
#include "base/result.hpp"
#include "runtime/fd.hpp"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace culvert::agent {

// A program that could take over, by its own word.
struct Candidate {
    std::filesystem::path binary;
    std::string build;
    std::uint32_t layout = 0;  // version of its map layout
};

// How the last upgrade that concerned this process ended.
struct UpgradeOutcome {
    std::string text;  // empty: there was none
    bool failed = false;
};

// What wakes the main thread (runtime::wait_signal) when an upgrade was asked for.
extern const int kUpgradeSignal;

class Upgrader {
  public:
    // Takes over what the program before this one left in the environment, and the kernel's limit
    // on it: nothing of it reaches a child.
    explicit Upgrader(const RunOptions& options);

    // Whether the file may be trusted (root's, writable by nobody else), runs, and the kernel takes
    // its programs. Errors: kNotFound, kPermissionDenied, kInvalidArgument, kConflict with the
    // program's words.
    Result<Candidate> examine(const std::filesystem::path& binary) const;

    // Asks the main thread to hand over.
    void request(const Candidate& candidate);
    std::optional<Candidate> requested();

    // Becomes the candidate. Returns only when that failed; outcome() says why.
    void hand_over(const Candidate& candidate);
    // After a failed start: becomes the program before this one again. Returns `why` when there is
    // none.
    Status go_back(Error why);
    // This start has succeeded: there is nothing to go back to any more.
    void settle();

    UpgradeOutcome outcome() const;
    // Differs from one start to the next.
    std::string instance() const;

  private:
    struct Previous {
        runtime::Fd file;
        std::filesystem::path path;
        std::string build;
    };
    struct State {
        std::optional<Candidate> requested;
        UpgradeOutcome outcome;
        Previous previous;
        std::uint64_t starts = 0;
    };

    const RunOptions options_;
    Guarded<State> state_;
};

struct CheckOptions {
    std::filesystem::path pin_dir;
    std::uint32_t flows = CV_FLOWS_DEFAULT;
    std::string build;
};

// What a candidate does when it is examined: has its programs loaded and thrown away, and prints
// build and layout.
Status check(const CheckOptions& options);

}  // namespace culvert::agent
