// SPDX-License-Identifier: Apache-2.0
#include "engine.hpp"

namespace culvert::store::test {
namespace {

using Ranges = Engines;

std::vector<std::string> keys_of(const RangeResult& result) {
    std::vector<std::string> keys;
    for (const KeyValue& row : result.kvs) {
        keys.push_back(row.key);
    }
    return keys;
}

TEST(PrefixEnd, IsTheNextStringThatDoesNotStartSo) {
    EXPECT_EQ(prefix_end("/r/"), "/r0");
    EXPECT_EQ(prefix_end("a\xff"), "b");
    EXPECT_EQ(prefix_end("a\xff\xff"), "b");
    EXPECT_EQ(prefix_end("\xff\xff"), std::string(1, '\0'));
    EXPECT_EQ(prefix_end(""), std::string(1, '\0'));
}

TEST_P(Ranges, AscendByByteValueWithinHalfOpenBounds) {
    for (const char* key : {"b", "a", "c", "\xff", "aa", "\x01", "B"}) {
        write(key, "v");
    }
    EXPECT_EQ(keys_of(read(Range{.key = "a", .range_end = "c"})),
              (std::vector<std::string>{"a", "aa", "b"}));
    EXPECT_EQ(keys_of(read(Range{.key = "a"})), std::vector<std::string>{"a"});
    EXPECT_EQ(keys_of(read(Range{.key = "x"})), std::vector<std::string>{});
    EXPECT_EQ(keys_of(read(Range{.key = "c", .range_end = "a"})), std::vector<std::string>{});
    EXPECT_EQ(keys_of(read(Range{.key = "b", .range_end = std::string(1, '\0')})),
              (std::vector<std::string>{"b", "c", "\xff"}));
    EXPECT_EQ(keys_of(*store_->list("")),
              (std::vector<std::string>{"\x01", "B", "a", "aa", "b", "c", "\xff"}));
}

TEST_P(Ranges, APrefixOfHighestBytesReachesTheEnd) {
    for (const char* key : {"\xfe", "\xff", "\xff\x01", "\xff\xff", "\xff\xff\xff"}) {
        write(key, "v");
    }
    EXPECT_EQ(store_->list("\xff")->kvs.size(), 4U);
    EXPECT_EQ(store_->list("\xff\xff")->kvs.size(), 2U);
    EXPECT_EQ(store_->list("\xfe")->kvs.size(), 1U);
}

TEST_P(Ranges, LimitCountAndMore) {
    for (int i = 0; i < 5; ++i) {
        write("/k" + std::to_string(i), "value");
    }
    Range range{.key = "/k", .range_end = prefix_end("/k")};
    range.limit = 3;
    auto some = read(range);
    EXPECT_EQ(keys_of(some), (std::vector<std::string>{"/k0", "/k1", "/k2"}));
    EXPECT_EQ(some.count, 5U);
    EXPECT_TRUE(some.more);
    range.limit = 5;
    some = read(range);
    EXPECT_EQ(some.kvs.size(), 5U);
    EXPECT_FALSE(some.more);
    EXPECT_EQ(some.count, 5U);
}

TEST_P(Ranges, KeysOnlyAndCountOnly) {
    const auto revision = write("/k1", "value");
    write("/k2", "value");
    const Range all{.key = "/k", .range_end = prefix_end("/k")};
    Range keys = all;
    keys.keys_only = true;
    auto found = read(keys);
    ASSERT_EQ(found.kvs.size(), 2U);
    EXPECT_EQ(found.kvs[0].value, "");
    EXPECT_EQ(found.kvs[0].mod_revision, revision);
    EXPECT_EQ(found.kvs[0].version, 1);
    Range count = all;
    count.count_only = true;
    found = read(count);
    EXPECT_TRUE(found.kvs.empty());
    EXPECT_EQ(found.count, 2U);
    count.range_end.clear();
    EXPECT_EQ(read(count).count, 0U);
    count.key = "/k1";
    EXPECT_EQ(read(count).count, 1U);
    Range one{.key = "/k1", .keys_only = true};
    EXPECT_EQ(read(one).kvs.at(0).value, "");
}

TEST_P(Ranges, AnswerSaysTheRevisionItShows) {
    EXPECT_EQ(read(Range{.key = "/a"}).revision, store_->revision());
    const auto revision = write("/a", "1");
    EXPECT_EQ(read(Range{.key = "/a"}).revision, revision);
    EXPECT_EQ(read(Range{.key = "/none"}).revision, revision);
}

INSTANTIATE_TEST_SUITE_P(Store, Ranges, testing::Values("memory", "sqlite"),
                         [](const auto& about) { return about.param; });

}  // namespace
}  // namespace culvert::store::test
