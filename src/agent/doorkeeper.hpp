// SPDX-License-Identifier: Apache-2.0
// The local socket's door: a Unix socket of mode 0600 whose callers are let in one by one, by what
// the kernel says of them (SO_PEERCRED, unix(7)): root and this process's own user. The mode alone
// would not hold against a descriptor that was passed on, or a mode that was changed.
// Thread safety: its own thread calls `admit`; the destructor stops it.
#pragma once

#include "base/result.hpp"
#include "runtime/fd.hpp"

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <thread>

namespace culvert::agent {

class Doorkeeper {
  public:
    using Admit = std::function<void(runtime::Fd connection)>;

    // Errors: kPermissionDenied, kInternal.
    static Result<std::unique_ptr<Doorkeeper>> open(const std::filesystem::path& socket,
                                                    Admit admit);
    Doorkeeper(const Doorkeeper&) = delete;
    Doorkeeper& operator=(const Doorkeeper&) = delete;
    ~Doorkeeper();

    std::uint64_t refused() const { return refused_; }

  private:
    Doorkeeper(runtime::Fd listener, runtime::Fd stopped, Admit admit);
    void work();

    runtime::Fd listener_;
    runtime::Fd stopped_;
    const Admit admit_;
    std::atomic<std::uint64_t> refused_{0};
    std::jthread thread_;
};

}  // namespace culvert::agent
