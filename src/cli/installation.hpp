// SPDX-License-Identifier: Apache-2.0
// What one machine's installation consists of and how its two processes are started: shared by up,
// down and status.
#pragma once

#include "cli/commands.hpp"
#include "cli/process.hpp"

#include <boost/json/fwd.hpp>

#include <chrono>
#include <optional>
#include <string>

namespace culvert::cli {

inline constexpr const char* kControlProcess = "culvertd";
inline constexpr const char* kAgentProcess = "culvert-agent";

// The exclusive right to start or stop this installation; given back on destruction.
// Neither copied nor moved.
class InstallationLock {
  public:
    InstallationLock() = default;
    ~InstallationLock();
    InstallationLock(const InstallationLock&) = delete;
    InstallationLock& operator=(const InstallationLock&) = delete;
    // Errors: kConflict when another command holds it.
    Status take(const Layout& layout);
    void release();

  private:
    int fd_ = -1;
};

std::vector<std::string> control_arguments(const std::string& program, const Layout& layout,
                                           const UpOptions& options);
std::vector<std::string> agent_arguments(const std::string& program, const Layout& layout,
                                         const UpOptions& options);
// The token goes by CULVERT_JOIN_TOKEN, so that no list of processes shows it.
std::vector<std::string> join_arguments(const std::string& program, const Layout& layout,
                                        const UpOptions& options, const std::string& control);

// https://HOST:PORT of a listen address; 0.0.0.0 is reached as 127.0.0.1.
std::string url_of(const std::string& listen);
std::string host_name();
// The first IPv4 address of an interface. Errors: kNotFound, naming the flag to use instead.
Result<std::string> address_of(const std::string& ifname);
// The last lines of a log, for the message about a process that ended.
std::string tail_of(const std::filesystem::path& log, std::size_t lines);

// The API's metadata answer, or why it does not answer.
Result<boost::json::value> metadata_of(const std::string& control, const std::string& ca_pem);

}  // namespace culvert::cli
