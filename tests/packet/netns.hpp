// SPDX-License-Identifier: Apache-2.0
// Namespaces without names: nothing of them stays when the process ends, however it ends.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace culvert::packet {

// A network namespace, alive while the object is. Single-threaded use.
class Netns {
  public:
    Netns();  // its loopback is up
    ~Netns();
    Netns(const Netns&) = delete;
    Netns& operator=(const Netns&) = delete;

    // Runs `body` with the calling thread inside.
    void run(const std::function<void()>& body) const;
    // Moves the calling thread inside for good.
    void enter() const;
    // `ip` (iproute2) inside; throws with what it wrote when it fails.
    void ip(const std::vector<std::string>& arguments) const;
    // A path that other processes can open, for `ip link set ... netns PATH`.
    std::string path() const;
    int ifindex(const std::string& name) const;

  private:
    int fd_ = -1;
};

}  // namespace culvert::packet
