// SPDX-License-Identifier: Apache-2.0
#include "cli/cli.hpp"

#include "cli/checks.hpp"
#include "cli/installation.hpp"
#include "cli/output.hpp"
#include "cli/parser.hpp"
#include "cli/process.hpp"
#include "cli/session.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <cstdlib>
#include <fstream>

namespace culvert::cli {
namespace {

using testing::HasSubstr;

class CliFiles : public testing::Test {
  protected:
    void SetUp() override {
        std::string pattern = testing::TempDir() + "/culvert-cli-XXXXXX";
        ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
        folder_ = pattern;
        ::setenv("XDG_CONFIG_HOME", (folder_ / "config").c_str(), 1);
        for (const auto* name :
             {"CULVERT_CONTROL", "CULVERT_CA", "CULVERT_CLIENT_ID", "CULVERT_CLIENT_SECRET"}) {
            ::unsetenv(name);
        }
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }
    void write(const std::filesystem::path& path, const std::string& text) {
        std::filesystem::create_directories(path.parent_path());
        std::ofstream(path) << text;
    }

    std::filesystem::path folder_;
};

int run_words(std::vector<const char*> words) {
    words.insert(words.begin(), "culvert");
    return run(static_cast<int>(words.size()), words.data());
}

TEST(Cli, wrong_usage_is_two_and_help_is_zero) {
    EXPECT_EQ(run_words({}), 2);
    EXPECT_EQ(run_words({"fly"}), 2);
    EXPECT_EQ(run_words({"attach", "--nic", "x"}), 2);
    EXPECT_EQ(run_words({"status", "--output", "yaml"}), 2);
    EXPECT_EQ(run_words({"completion", "fish"}), 2);
    EXPECT_EQ(run_words({"--help"}), 0);
    EXPECT_EQ(run_words({"up", "--help"}), 0);
}

TEST(Cli, up_hands_the_agent_what_is_given_and_leaves_it_its_defaults) {
    Parsed parsed;
    const auto app = make_parser(parsed);
    app->parse("up --liveness-interval-ms 0 --liveness-misses 4 --liveness-reset-s 90", false);
    const auto given = agent_arguments("culvert-agent", Layout{"/data"}, parsed.up);
    const std::vector<std::string> wanted{"--liveness-interval-ms", "0", "--liveness-misses", "4",
                                          "--liveness-reset-s",     "90"};
    ASSERT_GE(given.size(), wanted.size());
    EXPECT_EQ(std::vector(given.end() - 6, given.end()), wanted);
    EXPECT_EQ(agent_arguments("culvert-agent", Layout{"/data"}, {}).size(), given.size() - 6);
}

TEST(Cli, up_refuses_what_the_agent_would) {
    EXPECT_EQ(run_words({"up", "--liveness-interval-ms", "5"}), 2);
    EXPECT_EQ(run_words({"up", "--liveness-misses", "0"}), 2);
    EXPECT_EQ(run_words({"up", "--liveness-reset-s", "86401"}), 2);
    EXPECT_EQ(run_words({"up", "--nat-quota", "101"}), 2);
}

TEST_F(CliFiles, what_is_not_there_is_three) {
    EXPECT_EQ(run_words({"down", "--data-dir", (folder_ / "nowhere").c_str()}), 3);
}

TEST(Cli, an_id_that_is_no_nic_is_refused_before_anything_is_asked) {
    auto status = run_detach({}, {.nic = "/subscriptions/s/resourceGroups/g"});
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().target, "--nic");
    EXPECT_THAT(status.error().message, HasSubstr("networkInterfaces"));
}

TEST_F(CliFiles, environment_comes_before_login_and_bootstrap) {
    Settings settings;
    settings.data_dir = folder_ / "data";
    const Layout layout{settings.data_dir};
    write(layout.installation(), R"({"control":"https://127.0.0.1:1"})");
    write(layout.ca(), "CA");
    write(layout.bootstrap(),
          R"({"tenant":"t","subscription":"s","client_id":"boot","client_secret":"x"})");
    auto found = find_credentials(settings);
    ASSERT_TRUE(found) << found.error().message;
    EXPECT_EQ(found->client_id, "boot");
    EXPECT_EQ(found->control, "https://127.0.0.1:1");
    EXPECT_EQ(found->ca_pem, "CA");

    ::setenv("CULVERT_CLIENT_ID", "env", 1);
    ::setenv("CULVERT_CONTROL", "https://127.0.0.1:2", 1);
    found = find_credentials(settings);
    ASSERT_TRUE(found) << found.error().message;
    EXPECT_EQ(found->client_id, "env");
    EXPECT_EQ(found->control, "https://127.0.0.1:2");
}

TEST_F(CliFiles, without_credentials_the_message_says_where_they_could_be) {
    Settings settings;
    settings.data_dir = folder_ / "data";
    auto found = find_credentials(settings);
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().code, Code::kUnauthenticated);
    EXPECT_THAT(found.error().message, HasSubstr("culvert login"));
}

TEST_F(CliFiles, private_files_are_private) {
    const auto path = folder_ / "deep" / "secret";
    ASSERT_TRUE(write_private_file(path, "x"));
    EXPECT_EQ(std::filesystem::status(path).permissions(),
              std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
    EXPECT_EQ(*read_file(path), "x");
    EXPECT_EQ(read_file(folder_ / "none").error().code, Code::kNotFound);
}

TEST_F(CliFiles, a_pid_that_was_used_again_is_not_taken_for_ours) {
    const auto self = identify(::getpid());
    ASSERT_TRUE(self);
    const auto file = folder_ / "x.pid";
    ASSERT_TRUE(write_pid_file(file, *self));
    EXPECT_EQ(running_from(file), self);
    ASSERT_TRUE(write_pid_file(file, {self->pid, self->started + 1}));
    EXPECT_FALSE(running_from(file));
    write(file, "garbage");
    EXPECT_FALSE(running_from(file));
}

TEST_F(CliFiles, programs_start_fail_and_stop) {
    EXPECT_EQ(*run_to_end({.argv = {"/bin/sh", "-c", "exit 7"}, .log = {}}), 7);
    auto missing = spawn({.argv = {"/nowhere/program"}, .log = {}});
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().code, Code::kNotFound);
    auto sleeper = spawn({.argv = {"/bin/sleep", "1000"}, .log = folder_ / "log"});
    ASSERT_TRUE(sleeper);
    EXPECT_TRUE(is_running(*sleeper));
    EXPECT_TRUE(stop(*sleeper, std::chrono::seconds(10)));
    EXPECT_FALSE(is_running(*sleeper));
}

TEST_F(CliFiles, one_command_at_a_time_holds_an_installation) {
    const Layout layout{folder_};
    InstallationLock first;
    InstallationLock second;
    ASSERT_TRUE(first.take(layout));
    EXPECT_EQ(second.take(layout).error().code, Code::kConflict);
    first.release();
    EXPECT_TRUE(second.take(layout));
}

TEST(Cli, the_end_of_a_log_is_its_last_lines) {
    const auto path =
        std::filesystem::path(testing::TempDir()) / ("cli-log-" + std::to_string(::getpid()));
    std::ofstream(path) << "one\ntwo\nthree\n";
    EXPECT_EQ(tail_of(path, 2), "two\nthree\n");
    EXPECT_EQ(tail_of(path, 9), "one\ntwo\nthree\n");
    std::filesystem::remove(path);
}

TEST(Cli, listen_addresses_become_urls) {
    EXPECT_EQ(url_of("127.0.0.1:8443"), "https://127.0.0.1:8443");
    EXPECT_EQ(url_of("0.0.0.0:1"), "https://127.0.0.1:1");
    EXPECT_EQ(url_of("10.1.2.3:9"), "https://10.1.2.3:9");
}

TEST(Cli, kernel_releases_are_read) {
    EXPECT_EQ(parse_release("6.1.0-18-amd64"), std::pair(6, 1));
    EXPECT_EQ(parse_release("6.18.44"), std::pair(6, 18));
    EXPECT_EQ(parse_release("garbage"), std::pair(0, 0));
    EXPECT_EQ(parse_release("6"), std::pair(0, 0));
}

TEST(Cli, a_used_udp_port_is_found) {
    const std::string table =
        "   sl  local_address rem_address   st\n"
        "  123: 00000000:12B5 00000000:0000 07 00000000:00000000 00:00000000 00000000\n";
    EXPECT_TRUE(lists_udp_port(table, 4789));
    EXPECT_FALSE(lists_udp_port(table, 4790));
    EXPECT_FALSE(lists_udp_port("", 4789));
}

TEST(Checks, FiltersOfOthersAreToldFromOurs) {
    EXPECT_TRUE(other_filters("").empty());
    EXPECT_TRUE(other_filters("not JSON").empty());
    const std::string shown =
        R"([{"protocol":"all","pref":1,"kind":"bpf","chain":0},)"
        R"({"protocol":"all","pref":1,"kind":"bpf","chain":0,"options":{"handle":"0xcf01"}},)"
        R"({"protocol":"all","pref":100,"kind":"bpf","chain":0,"options":{"handle":"0x1"}}])";
    EXPECT_EQ(other_filters(shown), std::vector<std::string>{"bpf pref 100"});
}

TEST(Checks, AForwardPolicyOfDropIsSeen) {
    EXPECT_TRUE(forward_drops("*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [1:60]\nCOMMIT\n"));
    EXPECT_FALSE(forward_drops("*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -j DROP\n"));
    EXPECT_FALSE(forward_drops(""));
}

TEST(Cli, forms_are_encoded) {
    EXPECT_EQ(form_encode({{"a", "x y&z"}, {"b", "~-._"}}), "a=x%20y%26z&b=~-._");
}

TEST(Cli, errors_of_the_api_keep_code_message_and_target) {
    const auto error =
        error_of({.status = 404,
                  .headers = {},
                  .body = R"({"error":{"code":"NotFound","message":"no such","target":"x",
            "details":[{"code":"d","message":"more"}]}})"},
                 "GET /x");
    EXPECT_EQ(error.code, Code::kNotFound);
    EXPECT_EQ(exit_code(error), 3);
    EXPECT_EQ(error.arm_code, "NotFound");
    EXPECT_EQ(error.message, "GET /x: no such");
    EXPECT_EQ(error.target, "x");
    ASSERT_EQ(error.details.size(), 1U);
    EXPECT_EQ(error.details[0].message, "more");
}

TEST(Cli, errors_of_sign_in_are_oauth_errors) {
    const auto error =
        error_of({.status = 401,
                  .headers = {},
                  .body = R"({"error":"invalid_client","error_description":"wrong secret"})"},
                 "sign in");
    EXPECT_EQ(error.arm_code, "invalid_client");
    EXPECT_EQ(error.message, "sign in: wrong secret");
}

TEST(Cli, garbage_from_the_server_is_an_error_too) {
    EXPECT_THAT(error_of({.status = 502, .headers = {}, .body = "<html>"}, "GET /").message,
                HasSubstr("502"));
}

TEST(Cli, every_command_is_in_completion_and_manual) {
    Parsed parsed;
    const auto app = make_parser(parsed);
    const auto bash = completion_script(*app, "bash");
    const auto zsh = completion_script(*app, "zsh");
    const auto manual = manual_page(*app);
    for (const auto* command : app->get_subcommands([](const CLI::App*) { return true; })) {
        EXPECT_FALSE(command->get_description().empty());
        EXPECT_THAT(*bash, HasSubstr(command->get_name()));
        EXPECT_THAT(*zsh, HasSubstr(command->get_name()));
        EXPECT_THAT(manual, HasSubstr(command->get_name().substr(0, 2)));
        for (const auto* option : command->get_options()) {
            EXPECT_FALSE(option->get_description().empty())
                << command->get_name() << option->get_name();
        }
    }
    EXPECT_FALSE(completion_script(*app, "fish"));
}

TEST(Cli, numbers_are_grouped) {
    EXPECT_EQ(grouped(0), "0");
    EXPECT_EQ(grouped(999), "999");
    EXPECT_EQ(grouped(1234567), "1,234,567");
}

}  // namespace
}  // namespace culvert::cli
