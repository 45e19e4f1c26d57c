// SPDX-License-Identifier: Apache-2.0
#include "net/ipv6.hpp"

#include <gtest/gtest.h>

namespace culvert::net {
namespace {

TEST(Ipv6, ReadsAndWrites) {
    EXPECT_EQ(Ipv6::parse("FD00:1:0:0::A00:4")->str(), "fd00:1::a00:4");
    EXPECT_EQ(Ipv6::parse("::")->str(), "::");
    for (const auto* wrong : {"", "fd00", "fd00::1::2", "10.0.0.4", "fd00::/64", "fd00::1%eth0",
                              " fd00::1", "[fd00::1]", "12345::"}) {
        EXPECT_FALSE(Ipv6::parse(wrong)) << wrong;
    }
    EXPECT_FALSE(Ipv6::parse(std::string_view("fd00::1\0x", 9)));
}

TEST(Ipv6, PrefixesAreStrict) {
    EXPECT_EQ(Ipv6Prefix::parse("fd00:1::/48")->str(), "fd00:1::/48");
    EXPECT_EQ(Ipv6Prefix::parse("::/0")->str(), "::/0");
    for (const auto* wrong : {"fd00::", "fd00::/129", "fd00::/064", "fd00::/-1", "fd00::/",
                              "fd00::/64 ", "10.0.0.0/8", "fd00::/300"}) {
        EXPECT_FALSE(Ipv6Prefix::parse(wrong)) << wrong;
    }
    EXPECT_EQ(Ipv6Prefix::parse("fd00:1::1/63").error().message,
              "'fd00:1::1/63' has bits set below its length, use 'fd00:1::/63'");
}

TEST(Ipv6, PrefixesContain) {
    const auto wide = *Ipv6Prefix::parse("fd00:1::/47"), narrow = *Ipv6Prefix::parse("fd00:1::/64"),
               other = *Ipv6Prefix::parse("fd00:2::/64");
    EXPECT_TRUE(wide.contains(narrow));
    EXPECT_FALSE(narrow.contains(wide));
    EXPECT_TRUE(narrow.overlaps(wide));
    EXPECT_FALSE(narrow.overlaps(other));
    EXPECT_FALSE(wide.contains(other));
    EXPECT_TRUE(narrow.contains(*Ipv6::parse("fd00:1::ffff:ffff:ffff:ffff")));
    EXPECT_FALSE(narrow.contains(*Ipv6::parse("fd00:1:0:1::")));
}

TEST(Ipv6, AnAddressFollowsFromPrefixAndIpv4) {
    EXPECT_EQ(Ipv6Prefix::parse("fd00:1::/64")->joined(*Ipv4::parse("10.0.1.5")).str(),
              "fd00:1::a00:105");
}

}  // namespace
}  // namespace culvert::net
