// SPDX-License-Identifier: Apache-2.0
#include "runtime/notify.hpp"

#include "runtime/fd.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

namespace culvert::runtime {

void notify(std::string_view state) {
    const char* path = std::getenv("NOTIFY_SOCKET");
    sockaddr_un to{};
    const std::size_t length = path == nullptr ? 0 : std::strlen(path);
    if (length < 2 || length >= sizeof(to.sun_path)) {
        return;
    }
    to.sun_family = AF_UNIX;
    std::memcpy(to.sun_path, path, length);
    if (to.sun_path[0] == '@') {
        to.sun_path[0] = '\0';  // the abstract name space, unix(7)
    }
    const Fd out(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (out) {
        const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
        ::sendto(out.get(), state.data(), state.size(), MSG_NOSIGNAL,
                 reinterpret_cast<const sockaddr*>(&to), size);
    }
}

std::optional<std::chrono::milliseconds> watchdog_interval() {
    const char* wait = std::getenv("WATCHDOG_USEC");
    const char* process = std::getenv("WATCHDOG_PID");
    const std::uint64_t us = wait == nullptr ? 0 : std::strtoull(wait, nullptr, 10);
    if (us == 0 || (process != nullptr && std::strtol(process, nullptr, 10) != ::getpid())) {
        return std::nullopt;
    }
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::microseconds(us / 2));
}

}  // namespace culvert::runtime
