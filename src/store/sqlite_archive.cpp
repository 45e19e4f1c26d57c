// SPDX-License-Identifier: Apache-2.0
#include "store/archive.hpp"
#include "store/sqlite_connection.hpp"
#include "store/sqlite_files.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <memory>

namespace culvert::store {
namespace {

struct DatabaseClose {
    void operator()(sqlite3* db) const { sqlite3_close(db); }
};
using Database = std::unique_ptr<sqlite3, DatabaseClose>;
struct StatementDelete {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Statement = std::unique_ptr<sqlite3_stmt, StatementDelete>;

std::unexpected<Error> failed(sqlite3* db, std::string_view doing) {
    const int code = sqlite3_errcode(db);
    const bool damaged = code == SQLITE_CORRUPT || code == SQLITE_NOTADB;
    return fail(damaged               ? Code::kCorrupt
                : code == SQLITE_FULL ? Code::kStorageFull
                                      : Code::kUnavailable,
                fmt::format("{}: {}", doing, sqlite3_errmsg(db)));
}

Result<Database> open_database(const std::string& path) {
    sqlite3* db = nullptr;
    const int done = sqlite3_open_v2(path.c_str(), &db, SQLITE_OPEN_READWRITE, nullptr);
    Database made(db);
    if (done != SQLITE_OK) {
        return failed(db, "open backup");
    }
    return made;
}

Status execute(sqlite3* db, const std::string& sql, std::string_view doing) {
    if (sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) {
        return failed(db, doing);
    }
    return {};
}

Result<Statement> prepare(sqlite3* db, const char* sql, std::string_view doing) {
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v2(db, sql, -1, &statement, nullptr) != SQLITE_OK) {
        return failed(db, doing);
    }
    return Statement(statement);
}

std::string bytes_of(sqlite3_stmt* statement, int column) {
    const void* data = sqlite3_column_blob(statement, column);
    const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement, column));
    return data == nullptr ? std::string() : std::string(static_cast<const char*>(data), size);
}

// Whole rows of a file's bytes into a new private file, synced.
Status copy_file(const std::string& from, const std::string& to) {
    const FileDescriptor in(::open(from.c_str(), O_RDONLY | O_CLOEXEC));
    if (in.get() < 0) {
        return std::unexpected(error_from_errno(errno, "open " + from));
    }
    CULVERT_TRY_STATUS(make_private(to, true));
    const FileDescriptor out(::open(to.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
    if (out.get() < 0) {
        return std::unexpected(error_from_errno(errno, "open " + to));
    }
    std::array<char, 1 << 16> chunk{};
    for (;;) {
        const ssize_t got = ::read(in.get(), chunk.data(), chunk.size());
        if (got < 0) {
            return std::unexpected(error_from_errno(errno, "read " + from));
        }
        if (got == 0) {
            break;
        }
        for (ssize_t done = 0; done < got;) {
            const ssize_t put =
                ::write(out.get(), chunk.data() + done, static_cast<std::size_t>(got - done));
            if (put < 0) {
                return std::unexpected(error_from_errno(errno, "write " + to));
            }
            done += put;
        }
    }
    if (::fsync(out.get()) != 0) {
        return std::unexpected(error_from_errno(errno, "sync " + to));
    }
    return {};
}

Result<std::vector<ArchivedFile>> take_files(const std::string& path) {
    auto db = open_database(path);
    if (!db) {
        return std::unexpected(std::move(db.error()));
    }
    auto rows = prepare(db->get(), "SELECT name, bytes FROM archive ORDER BY name", "read backup");
    if (!rows) {
        return fail(Code::kCorrupt,
                    "read backup: the file is a store but no backup: `culvert "
                    "backup` makes one");
    }
    std::vector<ArchivedFile> files;
    int step = SQLITE_ROW;
    while ((step = sqlite3_step(rows->get())) == SQLITE_ROW) {
        files.push_back({bytes_of(rows->get(), 0), bytes_of(rows->get(), 1)});
    }
    if (step != SQLITE_DONE) {
        return failed(db->get(), "read backup");
    }
    rows->reset();
    // the keys are not to stay in the store's free pages
    CULVERT_TRY_STATUS(
        execute(db->get(), "PRAGMA secure_delete=ON; DROP TABLE archive", "read backup"));
    return files;
}

std::int64_t milliseconds(WallTime time) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
}

// The revision that a point means.
Result<std::int64_t> choose(SqliteConnection& connection, const RestorePoint& point) {
    auto newest = connection.revision();
    // what came before the first revision that is remembered can be shown, nothing older
    auto oldest = connection.number("SELECT coalesce(min(revision) - 1, -1) FROM revisions");
    if (!newest || !oldest) {
        return std::unexpected(!newest ? newest.error() : oldest.error());
    }
    if (*oldest < 0) {
        oldest = *newest;
    }
    std::int64_t wanted = point.revision.value_or(*newest);
    if (point.time) {
        auto found = connection.number(
            fmt::format("SELECT coalesce(max(revision), -1) FROM revisions WHERE at <= {}",
                        milliseconds(*point.time))
                .c_str());
        if (!found) {
            return std::unexpected(std::move(found.error()));
        }
        if (*found < 0) {
            return fail(Code::kInvalidArgument,
                        fmt::format("restore: the backup's history does not reach back to that "
                                    "time; its oldest revision is {}",
                                    *oldest),
                        "--to-time");
        }
        wanted = *found;
    }
    if (wanted < *oldest || wanted > *newest) {
        return fail(Code::kInvalidArgument,
                    fmt::format("restore: the backup can show revisions {} to {}, not {}", *oldest,
                                *newest, wanted),
                    "--to-revision");
    }
    return wanted;
}

std::string blob(std::string_view bytes) {
    std::string out = "x'";
    for (const char byte : bytes) {
        out += fmt::format("{:02x}", static_cast<unsigned char>(byte));
    }
    return out + "'";
}

// What a key was at a revision stands in the first change of it after that revision.
std::string undo_sql(std::int64_t to, const std::vector<std::string>& kept, std::int64_t next) {
    std::string but;
    for (const std::string& prefix : kept) {
        but += fmt::format(" AND NOT (key >= {} AND key < {})", blob(prefix),
                           blob(prefix_end(prefix)));
    }
    return fmt::format(
        "BEGIN IMMEDIATE;"
        "CREATE TEMP TABLE undo AS SELECT key, min(revision) AS first FROM history"
        " WHERE revision > {0}{2} GROUP BY key;"
        "DELETE FROM kv WHERE key IN (SELECT key FROM undo);"
        "INSERT INTO kv (key, create_revision, mod_revision, version, value)"
        " SELECT h.key, h.create_revision, h.mod_revision, h.version, h.value"
        " FROM history h JOIN undo u ON h.key = u.key AND h.revision = u.first"
        " WHERE h.mod_revision > 0;"
        "DELETE FROM history WHERE revision > {0};"
        "DELETE FROM revisions WHERE revision > {0};"
        "UPDATE store SET revision = {1} WHERE id = 1;"
        "COMMIT",
        to, next, but);
}

Result<Restored> restore_into(const std::string& archive, const std::string& to,
                              const RestorePoint& point) {
    CULVERT_TRY_STATUS(copy_file(archive, to));
    Restored restored;
    // checks that it is ours, whole and not newer; migrates an older one
    auto connection = SqliteConnection::open(to, SqliteConnection::Mode::kWriter);
    if (!connection) {
        return std::unexpected(prefixed(std::move(connection.error()), archive));
    }
    auto files = take_files(to);
    if (!files) {
        return std::unexpected(prefixed(std::move(files.error()), archive));
    }
    restored.files = std::move(*files);
    auto shown = choose(**connection, point);
    auto newest = (*connection)->revision();
    if (!shown || !newest) {
        return std::unexpected(!shown ? shown.error() : newest.error());
    }
    restored.shown = *shown;
    restored.revision = *newest + kRestoreJump;
    CULVERT_TRY_STATUS(
        (*connection)->execute(undo_sql(*shown, point.kept, restored.revision).c_str()));
    CULVERT_TRY_STATUS((*connection)->checkpoint_all());
    return restored;
}

}  // namespace

Status complete_archive(const std::string& snapshot, const std::vector<ArchivedFile>& files) {
    auto db = open_database(snapshot);
    if (!db) {
        return std::unexpected(std::move(db.error()));
    }
    CULVERT_TRY_STATUS(execute(db->get(),
                               "PRAGMA journal_mode=DELETE; PRAGMA synchronous=FULL;"
                               "BEGIN; CREATE TABLE archive (name TEXT PRIMARY KEY, bytes BLOB)",
                               "write backup"));
    auto insert = prepare(db->get(), "INSERT INTO archive VALUES (?1, ?2)", "write backup");
    if (!insert) {
        return std::unexpected(std::move(insert.error()));
    }
    for (const ArchivedFile& file : files) {
        sqlite3_bind_text(insert->get(), 1, file.name.c_str(), -1, SQLITE_STATIC);
        sqlite3_bind_blob64(insert->get(), 2, file.bytes.data(), file.bytes.size(), SQLITE_STATIC);
        if (sqlite3_step(insert->get()) != SQLITE_DONE) {
            return failed(db->get(), "write backup");
        }
        sqlite3_reset(insert->get());
    }
    insert->reset();
    CULVERT_TRY_STATUS(execute(db->get(), "COMMIT", "write backup"));
    return sync_directory_of(snapshot);
}

Result<Restored> restore_archive(const std::string& archive, const std::string& to,
                                 const RestorePoint& point) {
    if (std::filesystem::exists(std::filesystem::symlink_status(to))) {
        return fail(Code::kConflict, fmt::format("restore: {} exists", to));
    }
    auto restored = restore_into(archive, to, point);
    if (!restored) {
        for (const char* suffix : {"", "-wal", "-shm", "-journal"}) {
            ::unlink((to + suffix).c_str());
        }
        return restored;
    }
    CULVERT_TRY_STATUS(sync_directory_of(to));
    return restored;
}

}  // namespace culvert::store
