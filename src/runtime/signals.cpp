// SPDX-License-Identifier: Apache-2.0
#include "runtime/signals.hpp"

#include <pthread.h>

#include <csignal>
#include <ctime>

namespace culvert::runtime {
namespace {

sigset_t set_of(std::initializer_list<int> signals) {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : signals) {
        sigaddset(&set, signal);
    }
    return set;
}

}  // namespace

Status block_signals(std::initializer_list<int> signals) {
    const sigset_t set = set_of(signals);
    if (const int error = pthread_sigmask(SIG_BLOCK, &set, nullptr); error != 0) {
        return std::unexpected(error_from_errno(error, "block signals"));
    }
    return {};
}

std::optional<int> wait_signal(std::initializer_list<int> signals,
                               std::chrono::milliseconds timeout) {
    const sigset_t set = set_of(signals);
    timespec wait{};
    wait.tv_sec = timeout.count() / 1000;
    wait.tv_nsec = (timeout.count() % 1000) * 1000000;
    const int got = sigtimedwait(&set, nullptr, &wait);
    if (got < 0) {
        return std::nullopt;
    }
    return got;
}

}  // namespace culvert::runtime
