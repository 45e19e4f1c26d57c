// SPDX-License-Identifier: Apache-2.0
// A node for the tests of datapath/: a network and a mount namespace of its own, a bpffs below a
// temporary directory, workload namespaces. All of it ends with the process.
#pragma once

#include "runtime/fd.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

namespace culvert::datapath {

inline void must(bool done, const std::string& what) {
    if (!done) {
        throw std::runtime_error(fmt::format("{}: errno {}", what, errno));
    }
}

// Moves the process's main thread into namespaces of its own; once a process, before other threads.
inline void enter_own_namespaces() {
    static const bool done = [] {
        must(::unshare(CLONE_NEWNET | CLONE_NEWNS) == 0, "unshare (the packet lane needs root)");
        must(::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0, "private mounts");
        return true;
    }();
    static_cast<void>(done);
}

class TemporaryDirectory {
  public:
    TemporaryDirectory() {
        std::string name = "/tmp/culvert-datapath-XXXXXX";
        must(::mkdtemp(name.data()) != nullptr, "mkdtemp");
        path_ = name;
    }
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
    ~TemporaryDirectory() {
        ::umount2((path_ / "bpf").c_str(), MNT_DETACH);
        std::error_code error;
        std::filesystem::remove_all(path_, error);
    }
    const std::filesystem::path& path() const { return path_; }

  private:
    std::filesystem::path path_;
};

// A network namespace without a name, held by its descriptor.
class Namespace {
  public:
    Namespace() {
        std::thread([this] {
            if (::unshare(CLONE_NEWNET) == 0) {
                fd_ = runtime::Fd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
            }
        }).join();
        must(fd_.get() >= 0, "make a network namespace");
    }
    int fd() const { return fd_.get(); }
    std::string path() const { return fmt::format("/proc/self/fd/{}", fd_.get()); }

    // Runs `work` on a thread inside.
    template <typename F>
    void inside(F&& work) const {
        std::exception_ptr thrown;
        std::thread([&] {
            try {
                must(::setns(fd_.get(), CLONE_NEWNET) == 0, "setns");
                work();
            } catch (...) {
                thrown = std::current_exception();
            }
        }).join();
        if (thrown) {
            std::rethrow_exception(thrown);
        }
    }

  private:
    runtime::Fd fd_;
};

inline sockaddr_in endpoint(const std::string& address, std::uint16_t port) {
    sockaddr_in out{};
    out.sin_family = AF_INET;
    out.sin_port = htons(port);
    inet_pton(AF_INET, address.c_str(), &out.sin_addr);
    return out;
}

// A TCP listener inside a namespace.
inline runtime::Fd listen_in(const Namespace& where, std::uint16_t port) {
    runtime::Fd out;
    where.inside([&] {
        runtime::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        const auto address = endpoint("0.0.0.0", port);
        const int on = 1;
        ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        must(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0,
             "bind");
        must(::listen(fd.get(), 16) == 0, "listen");
        out = std::move(fd);
    });
    return out;
}

// A TCP connection made inside a namespace; empty when it does not come about in time.
inline runtime::Fd connect_in(const Namespace& where, const std::string& to, std::uint16_t port,
                              int wait_ms = 3000) {
    runtime::Fd out;
    where.inside([&] {
        runtime::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        const auto address = endpoint(to, port);
        ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
        pollfd ready{.fd = fd.get(), .events = POLLOUT, .revents = 0};
        int error = 0;
        socklen_t length = sizeof(error);
        if (::poll(&ready, 1, wait_ms) == 1 &&
            ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error == 0) {
            out = std::move(fd);
        }
    });
    return out;
}

}  // namespace culvert::datapath
