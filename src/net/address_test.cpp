// SPDX-License-Identifier: Apache-2.0
#include "net/address.hpp"

#include <gtest/gtest.h>

#include <string>

namespace culvert::net {
namespace {

TEST(Ipv4, PrintsWhatItParsed) {
    for (const std::string text :
         {"0.0.0.0", "10.0.0.1", "168.63.129.16", "255.255.255.255", "1.20.255.0"}) {
        const auto address = Ipv4::parse(text);
        ASSERT_TRUE(address) << text;
        EXPECT_EQ(address->str(), text);
        EXPECT_EQ(Ipv4::from_be(address->to_be()), *address);
    }
    EXPECT_EQ(Ipv4::parse("10.0.0.1")->value, 0x0a000001u);
}

TEST(Ipv4, RefusesEveryOtherSpelling) {
    for (const std::string text :
         {"",         " ",         "1",          "1.2",      "1.2.3",     "1.2.3.",
          "1.2.3.4.", "1.2.3.4.5", ".1.2.3",     "1..2.3",   "256.0.0.1", "1.2.3.256",
          "01.2.3.4", "1.2.3.04",  "00.0.0.0",   "1.2.3.-4", "+1.2.3.4",  "1.2.3.4 ",
          " 1.2.3.4", "0x1.2.3.4", "1.2.3.4/32", "::1",      "a.b.c.d",   "1.2.3.1000"}) {
        const auto address = Ipv4::parse(text);
        ASSERT_FALSE(address) << text;
        EXPECT_EQ(address.error().code, Code::kInvalidArgument);
    }
    EXPECT_FALSE(Ipv4::parse(std::string_view("1.2.3.4\0", 8)));
}

TEST(Ipv4, OrdersAsNumbers) {
    EXPECT_LT(*Ipv4::parse("9.255.255.255"), *Ipv4::parse("10.0.0.0"));
    EXPECT_LT(*Ipv4::parse("127.0.0.1"), *Ipv4::parse("128.0.0.0"));
}

Ipv4Prefix prefix(std::string_view text) { return Ipv4Prefix::parse(text).value(); }

TEST(Ipv4Prefix, KnowsItsEnds) {
    const auto p = prefix("10.0.2.0/23");
    EXPECT_EQ(p.str(), "10.0.2.0/23");
    EXPECT_EQ(p.mask(), 0xfffffe00u);
    EXPECT_EQ(p.size(), 512u);
    EXPECT_EQ(p.first().str(), "10.0.2.0");
    EXPECT_EQ(p.last().str(), "10.0.3.255");
}

TEST(Ipv4Prefix, GoesFromEverythingToOneAddress) {
    const auto all = prefix("0.0.0.0/0");
    EXPECT_EQ(all.mask(), 0u);
    EXPECT_EQ(all.size(), std::uint64_t{1} << 32);
    EXPECT_EQ(all.last().str(), "255.255.255.255");
    EXPECT_TRUE(all.contains(Ipv4{0xffffffff}));
    const auto one = prefix("10.0.0.1/32");
    EXPECT_EQ(one.size(), 1u);
    EXPECT_EQ(one.first(), one.last());
    EXPECT_TRUE(all.contains(one));
    EXPECT_FALSE(one.contains(all));
}

TEST(Ipv4Prefix, ContainsAndOverlaps) {
    const auto p = prefix("10.0.0.0/24");
    EXPECT_TRUE(p.contains(*Ipv4::parse("10.0.0.255")));
    EXPECT_FALSE(p.contains(*Ipv4::parse("10.0.1.0")));
    EXPECT_FALSE(p.contains(*Ipv4::parse("9.255.255.255")));
    EXPECT_TRUE(p.contains(p));
    EXPECT_TRUE(p.contains(prefix("10.0.0.128/25")));
    EXPECT_FALSE(p.contains(prefix("10.0.0.0/23")));
    EXPECT_TRUE(p.overlaps(prefix("10.0.0.0/23")));
    EXPECT_TRUE(p.overlaps(prefix("10.0.0.128/25")));
    EXPECT_FALSE(p.overlaps(prefix("10.0.1.0/24")));
}

TEST(Ipv4Prefix, NamesThePrefixThatWasMeant) {
    const auto p = Ipv4Prefix::parse("10.0.0.1/24");
    ASSERT_FALSE(p);
    EXPECT_NE(p.error().message.find("use '10.0.0.0/24'"), std::string::npos);
}

TEST(Ipv4Prefix, RefusesEveryOtherSpelling) {
    for (const std::string text :
         {"", "/", "10.0.0.0", "10.0.0.0/", "/24", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/024",
          "10.0.0.0/24/8", "10.0.0/24", "10.0.0.0/2 ", "10.0.0.0/+4", "fd00::/8"}) {
        EXPECT_FALSE(Ipv4Prefix::parse(text)) << text;
    }
}

TEST(Mac, OfANicCarriesItsIndex) {
    const auto mac = Mac::of_nic(0x01020304);
    EXPECT_EQ(mac.str(), "02:cf:01:02:03:04");
    EXPECT_EQ(mac.arm_str(), "02-CF-01-02-03-04");
    EXPECT_EQ(mac.bytes[0] & 3, 2) << "locally administered, unicast";
    EXPECT_EQ(Mac::parse(mac.str()).value(), mac);
    EXPECT_EQ(Mac::parse(mac.arm_str()).value(), mac);
    EXPECT_EQ(Mac::of_nic(0).str(), "02:cf:00:00:00:00");
}

TEST(Mac, RefusesEveryOtherSpelling) {
    for (const std::string text :
         {"", "02:cf:00:00:00", "02:cf:00:00:00:0", "02:cf:00:00:00:07:", "02:cf:00:00:00:0g",
          "02.cf.00.00.00.07", "2:cf:00:00:00:007", "-2:cf:00:00:00:07", " 2:cf:00:00:00:07"}) {
        EXPECT_FALSE(Mac::parse(text)) << text;
    }
}

}  // namespace
}  // namespace culvert::net
