// SPDX-License-Identifier: Apache-2.0
// An owned file descriptor. A handle, so it may be moved; never shared.
#pragma once

#include <utility>

namespace culvert::runtime {

class Fd {
  public:
    Fd() = default;
    explicit Fd(int fd) : fd_(fd) {}
    Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Fd& operator=(Fd&& other) noexcept;
    Fd(const Fd&) = delete;
    Fd& operator=(const Fd&) = delete;
    ~Fd();

    int get() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }
    // Gives up ownership.
    int release() { return std::exchange(fd_, -1); }
    // Closes what is held.
    void reset();

  private:
    int fd_ = -1;
};

}  // namespace culvert::runtime
