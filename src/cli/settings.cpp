// SPDX-License-Identifier: Apache-2.0
#include "cli/settings.hpp"

#include "base/result.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <boost/json.hpp>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <system_error>

namespace culvert::cli {
namespace {

namespace json = boost::json;

std::string environment(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
}

std::string text_of(const json::value& document, std::string_view name) {
    if (!document.is_object()) {
        return "";
    }
    const auto* found =
        document.get_object().if_contains(json::string_view(name.data(), name.size()));
    return found != nullptr && found->is_string() ? std::string(found->get_string()) : "";
}

Result<json::value> read_json(const std::filesystem::path& path) {
    auto text = read_file(path);
    if (!text) {
        return std::unexpected(text.error());
    }
    boost::system::error_code bad;
    auto parsed = json::parse(*text, bad);
    if (bad) {
        return fail(Code::kCorrupt,
                    fmt::format("read {}: not JSON: {}", path.string(), bad.message()));
    }
    return parsed;
}

constexpr const char* kBootstrap = "bootstrap.json";
constexpr const char* kLocalControl = "https://127.0.0.1:8443";  // culvertd's default

bool is_there(const std::filesystem::path& path) {
    std::error_code ignored;
    return std::filesystem::exists(path, ignored);
}

// What an installation on this machine answers at, as `up` noted it.
std::string local_control(const Layout& layout) {
    auto noted = read_json(layout.installation());
    if (noted) {
        return text_of(*noted, "control");
    }
    return is_there(layout.control() / kBootstrap) ? kLocalControl : "";
}

Result<Credentials> from_login(Credentials base) {
    auto stored = read_json(login_file());
    if (!stored) {
        return std::unexpected(stored.error());
    }
    if (base.control.empty()) {
        base.control = text_of(*stored, "control");
    }
    if (base.ca_pem.empty()) {
        base.ca_pem = text_of(*stored, "ca_pem");
    }
    base.tenant = text_of(*stored, "tenant");
    base.client_id = text_of(*stored, "client_id");
    base.client_secret = text_of(*stored, "client_secret");
    base.user = text_of(*stored, "user");
    base.refresh_token = text_of(*stored, "refresh_token");
    base.source = login_file().string();
    return base;
}

Result<Credentials> from_bootstrap(const Layout& layout, Credentials base) {
    auto stored = read_json(layout.bootstrap());
    if (!stored) {
        return std::unexpected(stored.error());
    }
    if (base.control.empty()) {
        base.control = local_control(layout);
    }
    base.tenant = text_of(*stored, "tenant");
    base.subscription = text_of(*stored, "subscription");
    base.client_id = text_of(*stored, "client_id");
    base.client_secret = text_of(*stored, "client_secret");
    base.source = layout.bootstrap().string();
    return base;
}

}  // namespace

std::filesystem::path Layout::bootstrap() const {
    const auto of_service = control() / kBootstrap;
    return is_there(of_service) ? of_service : root / kBootstrap;
}

std::filesystem::path agent_socket(const std::filesystem::path& data_dir) {
    const auto below = Layout{data_dir}.agent() / "agent.sock";
    const auto direct = data_dir / "agent.sock";
    return is_there(direct) && !is_there(below) ? direct : below;
}

std::filesystem::path login_file() {
    const auto config = environment("XDG_CONFIG_HOME");
    if (!config.empty()) {
        return std::filesystem::path(config) / "culvert" / "login.json";
    }
    const auto home = environment("HOME");
    return std::filesystem::path(home.empty() ? "/root" : home) / ".config" / "culvert" /
           "login.json";
}

Result<std::string> read_file(const std::filesystem::path& path) {
    errno = 0;
    const std::ifstream in(path, std::ios::binary);
    if (!in) {
        return std::unexpected(
            error_from_errno(errno == 0 ? EIO : errno, fmt::format("open {}", path.string())));
    }
    std::ostringstream out;
    out << in.rdbuf();
    return out.str();
}

Status write_private_file(const std::filesystem::path& path, const std::string& text) {
    std::error_code bad;
    std::filesystem::create_directories(path.parent_path(), bad);
    const std::string beside = path.string() + ".new";
    const auto doing = fmt::format("write {}", path.string());
    const int fd = ::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return std::unexpected(error_from_errno(errno, doing));
    }
    std::size_t done = 0;
    bool good = ::fchmod(fd, 0600) == 0;
    while (good && done < text.size()) {
        const auto wrote = ::write(fd, text.data() + done, text.size() - done);
        good = wrote > 0;
        done += good ? static_cast<std::size_t>(wrote) : 0;
    }
    good = good && ::fsync(fd) == 0;
    const int failure = errno;
    ::close(fd);
    if (!good || ::rename(beside.c_str(), path.c_str()) != 0) {
        const int why = good ? errno : failure;
        ::unlink(beside.c_str());
        return std::unexpected(error_from_errno(why, doing));
    }
    return {};
}

Result<std::string> find_ca(const Settings& settings) {
    if (!settings.ca_file.empty()) {
        return read_file(settings.ca_file);
    }
    const auto named = environment("CULVERT_CA");
    if (!named.empty()) {
        return read_file(named);
    }
    const Layout layout{settings.data_dir};
    return is_there(layout.ca()) ? read_file(layout.ca()) : Result<std::string>("");
}

Result<Credentials> find_credentials(const Settings& settings) {
    const Layout layout{settings.data_dir};
    Credentials base;
    base.control = settings.control.empty() ? environment("CULVERT_CONTROL") : settings.control;
    const bool ca_named = !settings.ca_file.empty() || !environment("CULVERT_CA").empty();
    if (ca_named) {
        auto ca = find_ca(settings);
        if (!ca) {
            return std::unexpected(ca.error());
        }
        base.ca_pem = *ca;
    }

    Result<Credentials> found = fail(Code::kUnauthenticated, "");
    if (!environment("CULVERT_CLIENT_ID").empty()) {
        base.client_id = environment("CULVERT_CLIENT_ID");
        base.client_secret = environment("CULVERT_CLIENT_SECRET");
        base.tenant = environment("CULVERT_TENANT");
        base.source = "CULVERT_CLIENT_ID";
        found = base;
    } else if (settings.data_dir == kDataDir &&
               is_there(login_file())) {  // NOLINT(bugprone-branch-clone): the order is the rule
        found = from_login(base);
    } else if (is_there(layout.bootstrap())) {
        found = from_bootstrap(layout, base);
    } else if (is_there(login_file())) {
        found = from_login(base);
    } else {
        return fail(Code::kUnauthenticated,
                    fmt::format("sign in: no credentials in CULVERT_CLIENT_ID, {} or {}; run "
                                "`culvert login`, or `culvert up` on this machine",
                                login_file().string(), layout.bootstrap().string()));
    }
    if (!found) {
        return found;
    }
    if (found->control.empty()) {
        found->control = local_control(layout);
    }
    if (found->ca_pem.empty()) {
        auto ca = find_ca(settings);
        if (!ca) {
            return std::unexpected(ca.error());
        }
        found->ca_pem = *ca;
    }
    if (found->control.empty()) {
        return fail(Code::kInvalidArgument,
                    "sign in: the control plane's address is not known; give --control "
                    "https://HOST:PORT or set CULVERT_CONTROL",
                    "--control");
    }
    return found;
}

}  // namespace culvert::cli
