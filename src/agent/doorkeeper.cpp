// SPDX-License-Identifier: Apache-2.0
#include "agent/doorkeeper.hpp"

#include "base/log.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace culvert::agent {
namespace {

constexpr int kBacklog = 64;
constexpr mode_t kOwnerOnly = 0177;
constexpr auto kBreath = std::chrono::milliseconds(50);  // when descriptors have run out

bool may_enter(int connection) {
    ucred peer{};
    socklen_t length = sizeof(peer);
    if (::getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) {
        return false;
    }
    if (peer.uid == 0 || peer.uid == ::geteuid()) {
        return true;
    }
    spdlog::warn("agent: refused a local caller uid={} pid={}", peer.uid, peer.pid);
    return false;
}

Result<runtime::Fd> listen_on(const std::filesystem::path& path) {
    const auto doing = fmt::format("listen on {}", path.string());
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string name = path.string();
    if (name.size() >= sizeof(address.sun_path)) {
        return fail(Code::kInvalidArgument, fmt::format("{}: the path is too long", doing));
    }
    std::memcpy(address.sun_path, name.c_str(), name.size() + 1);
    runtime::Fd out(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!out) {
        return std::unexpected(error_from_errno(errno, doing));
    }
    ::unlink(name.c_str());  // of an earlier life: the data directory's lock says that it is over
    // the socket is born with this mode: no moment in which others could open it
    const mode_t before = ::umask(kOwnerOnly);
    const bool bound =
        ::bind(out.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
    const int why = errno;
    ::umask(before);
    if (!bound) {
        return std::unexpected(error_from_errno(why, doing));
    }
    if (::listen(out.get(), kBacklog) != 0) {
        return std::unexpected(error_from_errno(errno, doing));
    }
    return out;
}

}  // namespace

Result<std::unique_ptr<Doorkeeper>> Doorkeeper::open(const std::filesystem::path& socket,
                                                     Admit admit) {
    auto listener = listen_on(socket);
    if (!listener) {
        return std::unexpected(std::move(listener.error()));
    }
    runtime::Fd stopped(::eventfd(0, EFD_CLOEXEC));
    if (!stopped) {
        return std::unexpected(error_from_errno(errno, "make an eventfd"));
    }
    return std::unique_ptr<Doorkeeper>(
        new Doorkeeper(std::move(*listener), std::move(stopped), std::move(admit)));
}

Doorkeeper::Doorkeeper(runtime::Fd listener, runtime::Fd stopped, Admit admit)
    : listener_(std::move(listener)), stopped_(std::move(stopped)), admit_(std::move(admit)) {
    thread_ = std::jthread([this] { work(); });
}

Doorkeeper::~Doorkeeper() {
    const std::uint64_t one = 1;
    static_cast<void>(::write(stopped_.get(), &one, sizeof(one)) == sizeof(one));
}

void Doorkeeper::work() {
    std::array<pollfd, 2> waited{pollfd{.fd = listener_.get(), .events = POLLIN, .revents = 0},
                                 pollfd{.fd = stopped_.get(), .events = POLLIN, .revents = 0}};
    while (true) {
        ::poll(waited.data(), waited.size(), -1);
        if (waited[1].revents != 0) {
            return;
        }
        runtime::Fd connection(
            ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (!connection) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
                std::this_thread::sleep_for(kBreath);
            }
            continue;
        }
        if (may_enter(connection.get())) {
            admit_(std::move(connection));
        } else {
            ++refused_;
        }
    }
}

}  // namespace culvert::agent
