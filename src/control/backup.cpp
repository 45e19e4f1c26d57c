// SPDX-License-Identifier: Apache-2.0
#include "control/backup.hpp"

#include "base/log.hpp"
#include "control/identity.hpp"
#include "control/keys.hpp"
#include "control/verifier.hpp"
#include "runtime/files.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace culvert::control {

namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr std::size_t kKeyFileBytes = 1024 * 1024;
constexpr std::string_view kEpochKey = "/meta/epoch";

std::uint64_t seconds(WallTime time) {
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count());
}

std::uint64_t epoch_of(store::Store& store) {
    const auto row = store.get(kEpochKey);
    std::uint64_t epoch = 0;
    if (row && *row) {
        const std::string& text = (*row)->value;
        std::from_chars(text.data(), text.data() + text.size(), epoch);
    }
    return epoch;
}

// Raises the epoch: what the lost life has given out is never taken for what comes now.
Result<std::string> fence(store::Store& store, std::uint64_t replaced) {
    std::string epoch = std::to_string(std::max(epoch_of(store), replaced) + 1);
    auto done = store.txn(
        {.compares = {}, .success = {store::put(std::string(kEpochKey), epoch)}, .failure = {}});
    if (!done) {
        return std::unexpected(std::move(done.error()));
    }
    return epoch;
}

// Renames the former store with its WAL; the directory's other files are overwritten.
Result<fs::path> move_aside(const fs::path& store, WallTime now) {
    fs::path aside = fmt::format("{}.replaced-{}", store.string(), seconds(now));
    for (const char* suffix : {"-wal", "-shm", ""}) {  // the database last: until then it is there
        std::error_code error;
        const fs::path from = store.string() + suffix;
        if (fs::exists(fs::symlink_status(from))) {
            fs::rename(from, aside.string() + suffix, error);
        }
        if (error) {
            return std::unexpected(error_from_errno(error.value(), "restore: move the old store"));
        }
    }
    return aside;
}

// The epoch of the store that is replaced, 0 when it cannot be read: a damaged one is what one
// restores. Nobody may have it open: whoever does holds its lock.
Result<std::uint64_t> epoch_of_unused(const fs::path& store) {
    auto opened = store::open_sqlite(store.string());
    if (!opened && opened.error().code == Code::kUnavailable) {
        return std::unexpected(prefixed(std::move(opened.error()), "restore: stop culvertd first"));
    }
    return opened ? epoch_of(**opened) : 0;
}

}  // namespace

Result<std::vector<store::ArchivedFile>> key_files(const fs::path& data_dir) {
    std::vector<store::ArchivedFile> files;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(data_dir, error)) {
        const std::string kind = entry.path().extension().string();
        if (!entry.is_regular_file() || (kind != ".crt" && kind != ".key" && kind != ".pem")) {
            continue;
        }
        auto bytes = runtime::read_file(entry.path(), kKeyFileBytes);
        if (!bytes) {
            return std::unexpected(prefixed(std::move(bytes.error()), "back up"));
        }
        files.push_back({entry.path().filename().string(), std::move(*bytes)});
    }
    if (error) {
        return std::unexpected(error_from_errno(error.value(), "back up " + data_dir.string()));
    }
    std::ranges::sort(files, {}, &store::ArchivedFile::name);
    return files;
}

Status write_backup(store::Store& store, const fs::path& data_dir, const fs::path& file) {
    auto files = key_files(data_dir);
    if (!files) {
        return std::unexpected(std::move(files.error()));
    }
    auto written = store.snapshot(file.string());
    if (written) {
        written = store::complete_archive(file.string(), *files);
    }
    if (!written && written.error().code != Code::kConflict) {
        std::error_code ignored;
        fs::remove(file, ignored);
    }
    return written;
}

Result<RestoreResult> restore_backup(const RestoreRequest& request, const Clock& clock) {
    CULVERT_TRY_STATUS(runtime::make_directory(request.data_dir, 0700));
    const fs::path store = request.data_dir / "store.db";
    const bool there = fs::exists(fs::symlink_status(store));
    if (there && !request.force) {
        return fail(Code::kConflict,
                    fmt::format("restore: {} holds a store: give another directory, or --force to "
                                "replace it (it is kept beside)",
                                request.data_dir.string()),
                    "--force");
    }
    auto replaced = there ? epoch_of_unused(store) : Result<std::uint64_t>(0);
    if (!replaced) {
        return std::unexpected(std::move(replaced.error()));
    }
    // made beside first: a backup that cannot be restored changes nothing
    const fs::path made = request.data_dir / "store.db.restoring";
    for (const char* suffix : {"", "-wal", "-shm", ".lock"}) {
        std::error_code ignored;
        fs::remove(made.string() + suffix, ignored);
    }
    auto restored = store::restore_archive(request.from.string(), made.string(), request.point);
    if (!restored) {
        return std::unexpected(std::move(restored.error()));
    }
    RestoreResult result{restored->shown, restored->revision, {}, {}};
    {
        auto opened = store::open_sqlite(made.string());
        auto epoch = opened ? fence(**opened, *replaced)
                            : Result<std::string>(std::unexpected(std::move(opened.error())));
        if (!epoch) {
            return std::unexpected(std::move(epoch.error()));
        }
        result.epoch = std::move(*epoch);
        result.revision = (*opened)->revision();
    }
    for (const store::ArchivedFile& file : restored->files) {
        if (fs::path(file.name).filename() != file.name || file.name.starts_with('.')) {
            return fail(Code::kCorrupt, fmt::format("restore: '{}' is no file name", file.name));
        }
        const bool open = file.name.ends_with(".crt");
        CULVERT_TRY_STATUS(
            runtime::replace_file(request.data_dir / file.name, file.bytes, open ? 0644 : 0600));
    }
    if (there) {
        auto aside = move_aside(store, clock.wall());
        if (!aside) {
            return std::unexpected(std::move(aside.error()));
        }
        result.replaced = std::move(*aside);
    }
    std::error_code error;
    fs::rename(made, store, error);  // closed: it has no WAL
    if (error) {
        return std::unexpected(error_from_errno(error.value(), "restore: put the store in place"));
    }
    fs::remove(made.string() + ".lock", error);
    return result;
}

// --- through the API -----------------------------------------------------------------------------

Backups::Backups(store::Store& store, const Clock& clock, fs::path data_dir)
    : store_(store), clock_(clock), data_dir_(std::move(data_dir)) {}

Backups::~Backups() {
    std::thread last = state_.with([](State& state) { return std::move(state.worker); });
    if (last.joinable()) {
        last.join();
    }
}

Result<json::object> Backups::run() {
    const fs::path folder = data_dir_ / "backup";
    std::error_code ignored;
    fs::remove_all(folder, ignored);  // one that nobody has taken away
    CULVERT_TRY_STATUS(runtime::make_directory(folder, 0700));
    const fs::path file = folder / fmt::format("culvert-{}.backup", seconds(clock_.wall()));
    CULVERT_TRY_STATUS(write_backup(store_, data_dir_, file));
    return json::object{{"file", file.string()}, {"bytes", fs::file_size(file, ignored)}};
}

void Backups::make(const ReplyFn& reply) {
    std::thread before;
    const bool begun = state_.with([&](State& state) {
        if (state.busy) {
            return false;
        }
        state.busy = true;
        before = std::move(state.worker);  // has ended but for its last line
        state.worker = std::thread([this, reply] {
            auto made = run();
            if (!made) {
                spdlog::error("backup: {}", made.error().message);
            }
            state_.with([](State& s) { s.busy = false; });
            reply(made ? Reply{.status = 200, .body = std::move(*made), .headers = {}}
                       : error_reply(made.error()));
        });
        return true;
    });
    if (before.joinable()) {
        before.join();
    }
    if (!begun) {
        reply(error_reply(Error{Code::kConflict,
                                "a backup is being made: wait for it",
                                {},
                                "AnotherOperationInProgress",
                                {}}));
    }
}

void add_store_handlers(Registry& registry, Services& services, Backups& backups) {
    registry.add("Culvert/backups", "POST", std::string(kOperator),
                 [&backups](const Call&, const ReplyFn& reply) { backups.make(reply); });
    registry.add("Culvert/verifications", "POST", std::string(kOperator),
                 [&services](const Call&, const ReplyFn& reply) {
                     auto verdict = verify(services.store);
                     reply(verdict ? Reply{.status = 200, .body = show(*verdict), .headers = {}}
                                   : error_reply(verdict.error()));
                 });
}

}  // namespace culvert::control
