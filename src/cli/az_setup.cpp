// SPDX-License-Identifier: Apache-2.0
#include "cli/commands.hpp"
#include "cli/installation.hpp"
#include "cli/output.hpp"
#include "cli/process.hpp"

#include <fmt/format.h>
#include <boost/json.hpp>

#include <cstdlib>

namespace culvert::cli {
namespace {

// One word of a shell command.
std::string quoted(const std::string& word) {
    static constexpr std::string_view kPlain =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/:=,@%+";
    if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) {
        return word;
    }
    std::string out = "'";
    for (const char c : word) {
        out += c == '\'' ? "'\\''" : std::string(1, c);
    }
    return out + "'";
}

std::string line_of(const Row& command) {
    std::string out;
    for (const auto& word : command) {
        out += (out.empty() ? "" : " ") + quoted(word);
    }
    return out;
}

// In order; each must succeed but those that `may_fail` (a cloud that is already registered).
struct AzCommand {
    Row argv;
    bool may_fail = false;
};

std::vector<AzCommand> az_commands(const Credentials& credentials, const AzSetupOptions& options) {
    return {
        {{options.az, "cloud", "register", "--name", options.cloud, "--endpoint-resource-manager",
          credentials.control},
         true},
        {{options.az, "cloud", "update", "--name", options.cloud, "--endpoint-resource-manager",
          credentials.control},
         false},
        {{options.az, "cloud", "set", "--name", options.cloud}, false},
        {{options.az, "login", "--service-principal", "--username", credentials.client_id,
          "--password", credentials.client_secret, "--tenant", credentials.tenant},
         false},
    };
}

// With `json` everything goes to standard error, so that standard output can be one JSON value.
Status apply(const std::vector<AzCommand>& commands, const std::string& ca_file, bool json) {
    ::setenv("REQUESTS_CA_BUNDLE", ca_file.c_str(), 1);
    for (const auto& command : commands) {
        const bool secret = command.argv.at(1) == "login";
        fmt::print(
            json ? stderr : stdout, "+ {}\n",
            secret ? command.argv[0] + " login --service-principal ..." : line_of(command.argv));
        std::fflush(stdout);
        auto argv = command.argv;
        if (!argv[0].contains('/')) {
            auto program = find_program(argv[0]);
            if (!program) {
                return fail(Code::kUnavailable, "az-setup: `az` is not in PATH; name it with --az",
                            "--az");
            }
            argv[0] = program->string();
        }
        auto status =
            run_to_end({.argv = argv, .log = json ? "/dev/stderr" : "", .own_session = false});
        if (!status) {
            return std::unexpected(status.error());
        }
        if (*status != 0 && !command.may_fail) {
            return fail(Code::kInternal, fmt::format("az-setup: `{} {}` ended with {}",
                                                     command.argv[0], command.argv[1], *status));
        }
    }
    return {};
}

}  // namespace

Result<int> run_az_setup(const Settings& settings, const AzSetupOptions& options) {
    auto credentials = find_credentials(settings);
    if (!credentials) {
        return std::unexpected(credentials.error());
    }
    if (credentials->client_secret.empty() || credentials->tenant.empty()) {
        return fail(Code::kInvalidArgument,
                    "az-setup: a service principal with its tenant is needed; run `culvert login "
                    "--service-principal "
                    "-u APP -p SECRET --tenant T` first");
    }
    const std::string ca_file = options.ca_out.empty()
                                    ? (login_file().parent_path() / "culvert-ca.pem").string()
                                    : options.ca_out;
    const auto commands = az_commands(*credentials, options);
    if (options.apply) {
        CULVERT_TRY_STATUS(write_private_file(ca_file, credentials->ca_pem));
        CULVERT_TRY_STATUS(apply(commands, ca_file, settings.json));
        if (settings.json) {
            print_json({{"cloud", options.cloud}, {"caFile", ca_file}});
            return 0;
        }
        fmt::print(
            "\naz talks to {} now. In every shell that uses it:\n  export REQUESTS_CA_BUNDLE={}\n",
            credentials->control, quoted(ca_file));
        return 0;
    }
    if (settings.json) {
        boost::json::array lines;
        for (const auto& command : commands) {
            lines.push_back(boost::json::value_from(command.argv));
        }
        print_json({{"caFile", ca_file},
                    {"caPem", credentials->ca_pem},
                    {"environment", {{"REQUESTS_CA_BUNDLE", ca_file}}},
                    {"commands", std::move(lines)}});
        return 0;
    }
    const auto folder = std::filesystem::path(ca_file).parent_path();
    if (!folder.empty()) {
        fmt::print("mkdir -p {}\n", quoted(folder.string()));
    }
    fmt::print("cat > {} <<'END_OF_CA'\n{}{}END_OF_CA\n", quoted(ca_file), credentials->ca_pem,
               credentials->ca_pem.ends_with('\n') ? "" : "\n");
    fmt::print("export REQUESTS_CA_BUNDLE={}\n", quoted(ca_file));
    fmt::print("export AZURE_CORE_COLLECT_TELEMETRY=no\n");
    for (const auto& command : commands) {
        fmt::print("{}{}\n", line_of(command.argv),
                   command.may_fail ? " || true  # it may be registered already" : "");
    }
    return 0;
}

}  // namespace culvert::cli
