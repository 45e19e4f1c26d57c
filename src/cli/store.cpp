// SPDX-License-Identifier: Apache-2.0
// backup, restore, store verify, audit list.
#include "cli/commands.hpp"
#include "cli/installation.hpp"
#include "cli/output.hpp"
#include "cli/session.hpp"
#include "http/message.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>
#include <boost/json.hpp>

#include <cerrno>
#include <filesystem>

namespace culvert::cli {
namespace {

namespace json = boost::json;
namespace fs = std::filesystem;

// a store of gigabytes is copied and checked meanwhile
constexpr std::chrono::minutes kLongExchange{30};

class File {
  public:
    File(const fs::path& path, int flags) : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0600)) {}
    ~File() {
        if (fd_ >= 0) {
            ::close(fd_);
        }
    }
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    int get() const { return fd_; }

  private:
    int fd_;
};

std::string text_of(const json::value& value, json::string_view name) {
    const auto* found = value.is_object() ? value.get_object().if_contains(name) : nullptr;
    if (found == nullptr || found->is_null()) {
        return "";
    }
    return found->is_string() ? std::string(found->get_string()) : json::serialize(*found);
}

const json::array& list_of(const json::value& value, json::string_view name) {
    static const json::array kNone;
    const auto* found = value.is_object() ? value.get_object().if_contains(name) : nullptr;
    return found != nullptr && found->is_array() ? found->get_array() : kNone;
}

Result<json::value> ask_long(const Settings& settings, const std::string& method,
                             const std::string& target, const json::value& body) {
    auto credentials = find_credentials(settings);
    auto session = credentials ? Session::open(std::move(*credentials), kLongExchange)
                               : std::unexpected(std::move(credentials.error()));
    if (!session) {
        return std::unexpected(std::move(session.error()));
    }
    return (*session)->call(method, target, body);
}

// Moves the finished backup to where it is wanted: whole or not at all, readable by its owner only.
Status take_away(const fs::path& from, const fs::path& to) {
    const File in(from, O_RDONLY | O_NOFOLLOW);
    if (in.get() < 0) {
        return std::unexpected(error_from_errno(
            errno, fmt::format("backup: read {} (run this on the control plane's machine, as root "
                               "or as the user of culvertd)",
                               from.string())));
    }
    const fs::path part = to.string() + ".part";
    ::unlink(part.c_str());
    const File out(part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW);
    struct stat about{};
    if (out.get() < 0 || ::fstat(in.get(), &about) != 0) {
        return std::unexpected(error_from_errno(errno, "backup: write " + part.string()));
    }
    for (off_t done = 0; done < about.st_size;) {
        const ssize_t sent =
            ::sendfile(out.get(), in.get(), &done, static_cast<std::size_t>(about.st_size - done));
        if (sent <= 0) {
            const int why = sent == 0 ? EIO : errno;
            ::unlink(part.c_str());
            return std::unexpected(error_from_errno(why, "backup: write " + part.string()));
        }
    }
    if (::fsync(out.get()) != 0 || ::rename(part.c_str(), to.c_str()) != 0) {
        const int why = errno;
        ::unlink(part.c_str());
        return std::unexpected(error_from_errno(why, "backup: write " + to.string()));
    }
    const File folder(to.has_parent_path() ? to.parent_path() : ".", O_RDONLY | O_DIRECTORY);
    if (folder.get() < 0 || ::fsync(folder.get()) != 0) {
        return std::unexpected(error_from_errno(errno, "backup: write " + to.string()));
    }
    ::unlink(from.c_str());
    return {};
}

// Runs culvertd for what is done without it serving; its words are ours.
Result<int> run_culvertd(const Settings& settings, const std::string& data, const char* command,
                         std::vector<std::string> more) {
    auto program = find_program(kControlProcess);
    if (!program) {
        return std::unexpected(program.error());
    }
    const std::string dir = data.empty() ? Layout{settings.data_dir}.control().string() : data;
    std::vector<std::string> argv{program->string(), command, "--data-dir", dir};
    argv.insert(argv.end(), more.begin(), more.end());
    if (settings.json) {
        argv.emplace_back("--json");
    }
    std::fflush(stdout);
    return run_to_end({.argv = std::move(argv), .log = {}, .own_session = false});
}

void print_verdict(const json::value& verdict) {
    std::vector<Row> rows;
    for (const auto& finding : list_of(verdict, "findings")) {
        rows.push_back({text_of(finding, "key"), text_of(finding, "message")});
    }
    if (!rows.empty()) {
        print_table({"KEY", "FINDING"}, rows);
    }
    fmt::print("revision {}: {} keys, {} resources, {} findings\n", text_of(verdict, "revision"),
               text_of(verdict, "keys"), text_of(verdict, "resources"), rows.size());
}

}  // namespace

Result<int> run_backup(const Settings& settings, const BackupOptions& options) {
    if (fs::exists(fs::symlink_status(options.to)) && !options.force) {
        return fail(Code::kConflict,
                    fmt::format("backup: {} exists: give another name, or --force", options.to),
                    "--to");
    }
    auto made = ask_long(settings, "POST", "/culvert/backups", json::object{});
    if (!made) {
        return std::unexpected(prefixed(made.error(), "backup"));
    }
    CULVERT_TRY_STATUS(take_away(text_of(*made, "file"), options.to));
    if (settings.json) {
        print_json({{"file", options.to}, {"bytes", made->as_object()["bytes"]}});
    } else {
        fmt::print("{}: {} bytes. It holds keys and password hashes: keep it as you keep those.\n",
                   options.to, text_of(*made, "bytes"));
    }
    return 0;
}

Result<int> run_restore(const Settings& settings, const RestoreOptions& options) {
    std::vector<std::string> more{"--from", options.from};
    if (options.to_revision) {
        more.insert(more.end(), {"--to-revision", std::to_string(*options.to_revision)});
    }
    if (!options.to_time.empty()) {
        more.insert(more.end(), {"--to-time", options.to_time});
    }
    if (options.force) {
        more.emplace_back("--force");
    }
    return run_culvertd(settings, options.data, "restore", std::move(more));
}

Result<int> run_store_verify(const Settings& settings, const VerifyOptions& options) {
    if (!options.data.empty()) {
        return run_culvertd(settings, options.data, "verify", {});
    }
    auto verdict = ask_long(settings, "POST", "/culvert/verifications", json::object{});
    if (!verdict) {
        return std::unexpected(prefixed(verdict.error(), "store verify"));
    }
    if (settings.json) {
        print_json(*verdict);
    } else {
        print_verdict(*verdict);
    }
    return list_of(*verdict, "findings").empty() ? 0 : 1;
}

}  // namespace culvert::cli
