// SPDX-License-Identifier: Apache-2.0
#include "agent/frames.hpp"

#include "abi/six.h"
#include "net/ipv6.hpp"

#include <netinet/in.h>

#include <gtest/gtest.h>

#include <algorithm>

namespace culvert::agent {
namespace {

constexpr std::uint32_t kNic = 0x01020304;

std::uint32_t word(const Frame& frame, std::size_t at) {
    return static_cast<std::uint32_t>(frame[at] << 8 | frame[at + 1]);
}

// RFC 1071: what a receiver adds up comes to all ones.
std::uint32_t sum(const Frame& frame, std::size_t at, std::size_t end, std::uint32_t more = 0) {
    std::uint32_t out = more;
    for (; at < end; at += 2) {
        out += word(frame, at);
    }
    while (out > 0xffff) {
        out = (out & 0xffff) + (out >> 16);
    }
    return out;
}

net::Ipv6 six(const char* text) { return *net::Ipv6::parse(text); }

bool has(const Frame& frame, std::size_t at, const net::Ipv6& address) {
    return std::equal(address.bytes.begin(), address.bytes.end(),
                      frame.begin() + static_cast<std::ptrdiff_t>(at));
}

TEST(FramesTest, a_challenge_is_a_sound_acknowledgement) {
    const Frame frame = make_challenge(kNic, {*net::Ipv4::parse("10.0.1.5"), 80},
                                       {*net::Ipv4::parse("10.0.0.4"), 40000}, 0x20000000);
    ASSERT_EQ(frame.size(), 54u);
    EXPECT_EQ(word(frame, 4), 0x0304u) << "to the NIC";
    EXPECT_EQ(word(frame, 12), 0x0800u);
    EXPECT_EQ(sum(frame, 14, 34), 0xffffu);
    EXPECT_EQ(sum(frame, 26, 54, IPPROTO_TCP + 20), 0xffffu);
    EXPECT_EQ(word(frame, 34), 80u);
    EXPECT_EQ(word(frame, 36), 40000u);
    EXPECT_EQ(word(frame, 38), 0x2000u);
    EXPECT_EQ(frame[47], 0x10);
}

TEST(FramesTest, an_advertisement_goes_to_all_of_the_link) {
    const Frame frame = make_advertisement(1450);
    ASSERT_EQ(frame.size(), 86u);
    EXPECT_EQ(word(frame, 0), 0x3333u);
    EXPECT_EQ(frame[21], 255) << "hops, by which it has not come by a router";
    EXPECT_TRUE(has(frame, 22, six("fe80::1")) && has(frame, 38, six("ff02::1")));
    EXPECT_EQ(frame[54], 134);
    EXPECT_EQ(frame[59], 0xc0);
    EXPECT_EQ(word(frame, 60), static_cast<std::uint32_t>(CV_ADVERTISED_S));
    EXPECT_EQ(word(frame, 84), 1450u);
    EXPECT_EQ(sum(frame, 22, 86, IPPROTO_ICMPV6 + 32), 0xffffu);
}

}  // namespace
}  // namespace culvert::agent
