// SPDX-License-Identifier: Apache-2.0
// Echoes to other nodes (abi/echo.h): the map in which the data plane notes their answers, and the
// socket that they leave by. The data plane takes the answers; no socket reads them.
// Thread safety: strand-bound.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "datapath/loader.hpp"
#include "datapath/outer.hpp"
#include "runtime/fd.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

struct cv_echo;

namespace culvert::datapath {

// What the data plane has heard of one node.
struct Heard {
    std::uint32_t sequence = 0;  // of its newest answer
    std::uint64_t answers = 0;
    bool fenced = false;               // it asked for no new connections
    SteadyTime at{};                   // when that came
    std::uint32_t relay_sequence = 0;  // of its newest answer through a relay
    SteadyTime relayed_at{};
    bool operator==(const Heard&) const = default;
};

class Echoes {
  public:
    // Takes what an earlier agent heard over. Errors: kInternal.
    static Result<std::unique_ptr<Echoes>> open(const Datapath& datapath);
    virtual ~Echoes() = default;

    // From here on only answers with these secrets count, one for the node itself, one for relays;
    // 0: none. The index is below CV_NODES_MAX.
    virtual void expect(std::uint32_t node, std::uint64_t nonce, std::uint64_t relay_nonce) = 0;
    virtual Heard heard(std::uint32_t node) const = 0;
};

struct EchoWish {
    std::uint32_t origin = 0;  // this node
    std::uint32_t target = 0;
    std::uint32_t relay = 0;  // 0: straight to the target
    std::uint32_t sequence = 0;
    std::uint64_t nonce = 0;
    OuterAddress to;  // the relay's or the target's
};

// What nodes say to each other begins so: VXLAN with the link id 0, Ethernet of that type.
std::vector<std::uint8_t> between_nodes(std::uint16_t type);

class EchoSocket {
  public:
    // Sends from `outer` by the interface only, to `udp_port`. Errors: of socket(2) and bind(2).
    static Result<std::unique_ptr<EchoSocket>> open(const std::string& backbone,
                                                    const OuterAddress& outer,
                                                    std::uint16_t udp_port);
    virtual ~EchoSocket() = default;

    // One flag a wish: false, it did not leave this machine for a reason of this machine's.
    virtual std::vector<bool> send(std::span<const EchoWish> wishes) = 0;
    // One frame (between_nodes()); false: it did not leave.
    virtual bool send(const OuterAddress& to, std::span<const std::uint8_t> frame) = 0;
    // Whether the interface is up and has a carrier.
    virtual bool has_carrier() const = 0;
};

}  // namespace culvert::datapath
