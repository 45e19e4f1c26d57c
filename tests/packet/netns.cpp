// SPDX-License-Identifier: Apache-2.0
#include "tests/packet/netns.hpp"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cerrno>
#include <stdexcept>
#include <system_error>

extern char** environ;

namespace culvert::packet {
namespace {

[[noreturn]] void fail(const char* doing) {
    throw std::system_error(errno, std::generic_category(), doing);
}

int open_current() {
    int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        fail("open namespace");
    }
    return fd;
}

void enter_fd(int fd) {
    if (setns(fd, CLONE_NEWNET) != 0) {
        fail("enter namespace");
    }
}

}  // namespace

Netns::Netns() {
    int before = open_current();
    if (unshare(CLONE_NEWNET) != 0) {
        fail("make namespace");
    }
    fd_ = open_current();
    enter_fd(before);
    close(before);
    ip({"link", "set", "lo", "up"});
}

Netns::~Netns() { close(fd_); }

void Netns::enter() const { enter_fd(fd_); }

void Netns::run(const std::function<void()>& body) const {
    int before = open_current();
    enter_fd(fd_);
    try {
        body();
    } catch (...) {
        enter_fd(before);
        close(before);
        throw;
    }
    enter_fd(before);
    close(before);
}

void Netns::ip(const std::vector<std::string>& arguments) const {
    run([&] {
        std::vector<char*> argv{const_cast<char*>("ip")};
        for (const auto& argument : arguments) {
            argv.push_back(const_cast<char*>(argument.c_str()));
        }
        argv.push_back(nullptr);
        pid_t child = 0;
        if (posix_spawnp(&child, "ip", nullptr, nullptr, argv.data(), environ) != 0) {
            fail("start ip");
        }
        int status = 0;
        waitpid(child, &status, 0);
        if (status != 0) {
            throw std::runtime_error(fmt::format("ip {} failed", fmt::join(arguments, " ")));
        }
    });
}

std::string Netns::path() const { return fmt::format("/proc/{}/fd/{}", getpid(), fd_); }

int Netns::ifindex(const std::string& name) const {
    unsigned index = 0;
    run([&] { index = if_nametoindex(name.c_str()); });
    if (index == 0) {
        fail("find interface");
    }
    return static_cast<int>(index);
}

}  // namespace culvert::packet
