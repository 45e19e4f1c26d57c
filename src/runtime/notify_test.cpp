// SPDX-License-Identifier: Apache-2.0
#include "runtime/notify.hpp"

#include "runtime/fd.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

namespace culvert::runtime {
namespace {

using namespace std::chrono_literals;

class NotifyTest : public testing::Test {
  protected:
    void TearDown() override {
        for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) {
            unsetenv(name);
        }
    }
    // What arrives at a socket of that name after notify(state).
    static std::string heard(const std::string& name, std::string_view state) {
        const Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        sockaddr_un at{};
        at.sun_family = AF_UNIX;
        std::memcpy(at.sun_path, name.data(), name.size());
        at.sun_path[0] = name[0] == '@' ? '\0' : name[0];
        const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
        EXPECT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&at), size), 0);
        setenv("NOTIFY_SOCKET", name.c_str(), 1);
        notify(state);
        std::array<char, 100> text{};
        const auto got = ::recv(socket.get(), text.data(), text.size(), MSG_DONTWAIT);
        return got < 0 ? "nothing" : std::string(text.data(), static_cast<std::size_t>(got));
    }
};

TEST_F(NotifyTest, the_manager_hears_it_by_either_kind_of_name) {
    const auto path = testing::TempDir() + "culvert-notify-" + std::to_string(getpid());
    EXPECT_EQ(heard(path, "READY=1"), "READY=1");
    std::filesystem::remove(path);
    EXPECT_EQ(heard("@culvert-notify-" + std::to_string(getpid()), "STOPPING=1"), "STOPPING=1");
}

TEST_F(NotifyTest, without_a_manager_nothing_happens) {
    notify("READY=1");
    for (const char* name : {"", "x", "/no/such/socket"}) {
        setenv("NOTIFY_SOCKET", name, 1);
        notify("READY=1");
    }
    setenv("NOTIFY_SOCKET", std::string(500, 'x').c_str(), 1);
    notify("READY=1");
    EXPECT_FALSE(watchdog_interval().has_value());
}

TEST_F(NotifyTest, the_watchdog_is_fed_twice_as_often_as_it_waits) {
    setenv("WATCHDOG_USEC", "30000000", 1);
    EXPECT_EQ(watchdog_interval(), 15s);
    setenv("WATCHDOG_PID", std::to_string(getpid()).c_str(), 1);
    EXPECT_EQ(watchdog_interval(), 15s);
    setenv("WATCHDOG_PID", "1", 1);
    EXPECT_FALSE(watchdog_interval().has_value()) << "it waits for another process";
}

}  // namespace
}  // namespace culvert::runtime
