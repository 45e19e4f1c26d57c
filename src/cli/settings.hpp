// SPDX-License-Identifier: Apache-2.0
// Where an installation is and who the caller is: options first, then the environment, then what
// `culvert login` stored, then, on the machine where `culvert up` ran, the credentials made on
// first start.
#pragma once

#include "base/result.hpp"

#include <filesystem>
#include <string>

namespace culvert::cli {

inline constexpr const char* kDataDir = "/var/lib/culvert";

// Options that every command takes.
struct Settings {
    bool json = false;
    std::filesystem::path data_dir = kDataDir;
    std::string control;  // https://HOST:PORT
    std::string ca_file;
};

// Everything that `up` keeps below its data directory.
struct Layout {
    std::filesystem::path root;

    std::filesystem::path control() const { return root / "control"; }
    std::filesystem::path agent() const { return root / "agent"; }
    std::filesystem::path run() const { return root / "run"; }
    std::filesystem::path logs() const { return root / "log"; }
    // Of `up`; culvertd.service, which owns nothing but control(), puts it there.
    std::filesystem::path bootstrap() const;
    std::filesystem::path installation() const { return root / "installation.json"; }
    std::filesystem::path ca() const { return control() / "ca.crt"; }
    std::filesystem::path lock() const { return root / "lock"; }
    std::filesystem::path pid_of(const std::string& process) const {
        return run() / (process + ".pid");
    }
    std::filesystem::path log_of(const std::string& process) const {
        return logs() / (process + ".log");
    }
};

// The agent's socket: below `data_dir`/agent where `up` put it, or in `data_dir` of an agent
// started by itself.
std::filesystem::path agent_socket(const std::filesystem::path& data_dir);

// Enough to sign in. Either a secret or a refresh token is set.
struct Credentials {
    std::string control;
    std::string ca_pem;  // empty: the system's store
    std::string tenant;
    std::string subscription;
    std::string client_id;
    std::string client_secret;
    std::string user;  // of a refresh token
    std::string refresh_token;
    std::string source;  // where they were found, for messages
};

// Errors: kUnauthenticated with every place that was looked at and how to sign in.
Result<Credentials> find_credentials(const Settings& settings);

// The file of `culvert login`: $XDG_CONFIG_HOME/culvert/login.json or ~/.config/culvert/login.json.
std::filesystem::path login_file();

Result<std::string> read_file(const std::filesystem::path& path);
// Written beside, synced and renamed, so that readers see the old or the new file. Mode 0600.
Status write_private_file(const std::filesystem::path& path, const std::string& text);
// The first PEM certificate authority file that applies, as text; empty when none does.
Result<std::string> find_ca(const Settings& settings);

}  // namespace culvert::cli
