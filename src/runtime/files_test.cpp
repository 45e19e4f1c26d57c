// SPDX-License-Identifier: Apache-2.0
#include "runtime/files.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>

namespace culvert::runtime {
namespace {

class FilesTest : public testing::Test {
  protected:
    FilesTest() {
        std::string pattern = testing::TempDir() + "culvert-files-XXXXXX";
        folder_ = ::mkdtemp(pattern.data());
    }
    ~FilesTest() override { std::filesystem::remove_all(folder_); }
    std::size_t count() const {
        return static_cast<std::size_t>(
            std::distance(std::filesystem::directory_iterator(folder_), {}));
    }

    std::filesystem::path folder_;
};

TEST_F(FilesTest, a_replaced_file_leaves_nothing_else) {
    ASSERT_TRUE(replace_file(folder_ / "a.json", "one", 0600));
    ASSERT_TRUE(replace_file(folder_ / "a.json", "two", 0600));
    EXPECT_EQ(read_file(folder_ / "a.json"), "two");
    EXPECT_EQ(count(), 1u);
}

// Killed while it replaces a file over and over, until it was killed in between.
TEST_F(FilesTest, what_a_killed_writer_left_is_removed_and_nothing_else) {
    ASSERT_TRUE(replace_file(folder_ / "kept.backup", "kept", 0600));
    const std::string content(1 << 20, 'x');
    ASSERT_TRUE(replace_file(folder_ / "a.json", content, 0600));
    for (int round = 0; round < 100 && count() < 3; ++round) {
        const pid_t child = ::fork();
        if (child == 0) {
            while (true) {
                (void)replace_file(folder_ / "a.json", content, 0600, Outlives::kProcess);
            }
        }
        ASSERT_GT(child, 0);
        ::usleep(2000 + 100 * static_cast<unsigned>(round));
        ::kill(child, SIGKILL);
        ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    }
    ASSERT_GE(count(), 3u) << "no writer was killed in between";
    remove_unfinished(folder_);
    EXPECT_EQ(count(), 2u);
    EXPECT_EQ(read_file(folder_ / "a.json"), content);
    EXPECT_EQ(read_file(folder_ / "kept.backup"), "kept");
    remove_unfinished(folder_ / "missing");
}

}  // namespace
}  // namespace culvert::runtime
