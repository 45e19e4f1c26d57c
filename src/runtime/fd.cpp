// SPDX-License-Identifier: Apache-2.0
#include "runtime/fd.hpp"

#include <unistd.h>

namespace culvert::runtime {

Fd& Fd::operator=(Fd&& other) noexcept {
    if (this != &other) {
        reset();
        fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
}

Fd::~Fd() { reset(); }

void Fd::reset() {
    if (fd_ >= 0) {
        ::close(fd_);
        fd_ = -1;
    }
}

}  // namespace culvert::runtime
