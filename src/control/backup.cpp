// SPDX-License-Identifier: Apache-2.0
#include "control/backup.hpp"

#include "base/log.hpp"
#include "control/certificates.hpp"
#include "control/identity.hpp"
#include "control/keys.hpp"
#include "control/restore_epoch.hpp"
#include "control/verifier.hpp"
#include "runtime/files.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace culvert::control {

namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr std::size_t kKeyFileBytes = 1024 * 1024;
constexpr std::size_t kRowsAtOnce = 100;

std::uint64_t seconds(WallTime time) {
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count());
}

// What the store that is replaced knows, and the backup cannot: nothing of it is taken back.
struct Replaced {
    std::uint32_t epoch = 0;
    std::vector<store::KeyValue> revocations;
};

// Begins another life, in which nothing that the lost one has given out is taken for what comes
// now, and no certificate that it has revoked is good.
Result<std::string> begin_life(store::Store& store, const Replaced& replaced, WallTime now,
                               Random& random) {
    for (std::size_t done = 0; done < replaced.revocations.size();) {
        store::Txn txn;
        for (; done < replaced.revocations.size() && txn.success.size() < kRowsAtOnce; ++done) {
            const store::KeyValue& row = replaced.revocations[done];
            txn.success.push_back(store::put(row.key, row.value));
        }
        if (auto put = store.txn(txn); !put) {
            return std::unexpected(std::move(put.error()));
        }
    }
    auto known = RestoreEpoch::read(store);
    if (!known) {
        return std::unexpected(std::move(known.error()));
    }
    auto epoch = RestoreEpoch::after(std::max(known->number, replaced.epoch), now, random);
    store::Op holdings = store::erase(std::string(keys::kHolds));  // they were told more since
    holdings.range_end = store::prefix_end(keys::kHolds);
    auto done = store.txn({.compares = {},
                           .success = {holdings, store::put(std::string(keys::kEpoch), epoch.text)},
                           .failure = {}});
    if (!done) {
        return std::unexpected(std::move(done.error()));
    }
    return std::move(epoch.text);
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

// Of the store that is replaced; nothing when it cannot be read: a damaged one is what one
// restores. Nobody may have it open: whoever does holds its lock.
Result<Replaced> read_replaced(const fs::path& store) {
    auto opened = store::open_sqlite(store.string());
    if (!opened && opened.error().code == Code::kUnavailable) {
        return std::unexpected(prefixed(std::move(opened.error()), "restore: stop culvertd first"));
    }
    Replaced out;
    if (!opened) {
        return out;
    }
    if (const auto epoch = RestoreEpoch::read(**opened)) {
        out.epoch = epoch->number;
    }
    if (auto rows = (*opened)->list(keys::kRevoked)) {
        out.revocations = std::move(rows->kvs);
    }
    return out;
}

// The authority's files are merged with those that are there, the others replace them.
Status put_files(const fs::path& data_dir, const std::vector<store::ArchivedFile>& files,
                 WallTime now) {
    AuthorityFiles authority;
    for (const store::ArchivedFile& file : files) {
        if (fs::path(file.name).filename() != file.name || file.name.starts_with('.')) {
            return fail(Code::kCorrupt, fmt::format("restore: '{}' is no file name", file.name));
        }
        if (std::string* part = authority.part(file.name)) {
            *part = file.bytes;
            continue;
        }
        const bool open = file.name.ends_with(".crt");
        CULVERT_TRY_STATUS(
            runtime::replace_file(data_dir / file.name, file.bytes, open ? 0644 : 0600));
    }
    return merge_authority(data_dir, authority, fmt::format("replaced-{}", seconds(now)));
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

Result<RestoreResult> restore_backup(const RestoreRequest& request, const Clock& clock,
                                     Random& random) {
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
    auto replaced = there ? read_replaced(store) : Result<Replaced>(Replaced{});
    if (!replaced) {
        return std::unexpected(std::move(replaced.error()));
    }
    // made beside first: a backup that cannot be restored changes nothing
    const fs::path made = request.data_dir / "store.db.restoring";
    for (const char* suffix : {"", "-wal", "-shm", ".lock"}) {
        std::error_code ignored;
        fs::remove(made.string() + suffix, ignored);
    }
    store::RestorePoint point = request.point;
    point.kept = {std::string(keys::kRevoked), std::string(keys::kAudit)};
    auto restored = store::restore_archive(request.from.string(), made.string(), point);
    if (!restored) {
        return std::unexpected(std::move(restored.error()));
    }
    RestoreResult result{restored->shown, restored->revision, {}, {}};
    {
        auto opened = store::open_sqlite(made.string());
        auto epoch = opened ? begin_life(**opened, *replaced, clock.wall(), random)
                            : Result<std::string>(std::unexpected(std::move(opened.error())));
        if (!epoch) {
            return std::unexpected(std::move(epoch.error()));
        }
        result.epoch = std::move(*epoch);
        result.revision = (*opened)->revision();
    }
    CULVERT_TRY_STATUS(put_files(request.data_dir, restored->files, clock.wall()));
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
