// SPDX-License-Identifier: Apache-2.0
#include "store/sqlite_connection.hpp"

#include <fmt/format.h>
#include <sqlite3.h>

#include <string_view>

namespace culvert::store {
namespace {

constexpr std::string_view kToTheEnd("\0", 1);

// Columns that are compared stand before the value, so that a scan of keys reads no overflow pages.
constexpr const char* kSchema =
    "CREATE TABLE kv (key BLOB NOT NULL PRIMARY KEY, create_revision INTEGER NOT NULL,"
    " mod_revision INTEGER NOT NULL, version INTEGER NOT NULL, value BLOB NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE store (id INTEGER PRIMARY KEY CHECK (id = 1), revision INTEGER NOT NULL);"
    "INSERT INTO store VALUES (1, 1);";

Code code_of(int sqlite_code) {
    switch (sqlite_code & 0xff) {
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB: return Code::kCorrupt;
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
        case SQLITE_FULL:
        case SQLITE_IOERR:
        case SQLITE_NOMEM:
        case SQLITE_READONLY: return Code::kUnavailable;
        case SQLITE_CANTOPEN:
        case SQLITE_PERM: return Code::kPermissionDenied;
        default: return Code::kInternal;
    }
}

}  // namespace

// A prepared statement while it is bound and stepped; reset when it goes.
class SqliteConnection::Use {
  public:
    explicit Use(const Statement& statement) : statement_(statement.get()) {}
    ~Use() {
        sqlite3_reset(statement_);
        sqlite3_clear_bindings(statement_);
    }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

    void bind(int at, std::string_view bytes) {
        // a null pointer would bind NULL; the caller's bytes outlive the use
        sqlite3_bind_blob64(statement_, at, bytes.empty() ? "" : bytes.data(), bytes.size(),
                            SQLITE_STATIC);
    }
    void bind(int at, std::int64_t number) { sqlite3_bind_int64(statement_, at, number); }
    int step() { return sqlite3_step(statement_); }
    std::int64_t number(int column) { return sqlite3_column_int64(statement_, column); }
    std::string bytes(int column) {
        const void* data = sqlite3_column_blob(statement_, column);
        const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_, column));
        return data == nullptr ? std::string() : std::string(static_cast<const char*>(data), size);
    }
    // Columns as every query of rows selects them.
    KeyValue row(bool with_value) {
        return KeyValue{.key = bytes(0),
                        .value = with_value ? bytes(4) : std::string(),
                        .create_revision = number(1),
                        .mod_revision = number(2),
                        .version = number(3)};
    }

  private:
    sqlite3_stmt* statement_;
};

void SqliteConnection::StatementDelete::operator()(sqlite3_stmt* statement) const {
    sqlite3_finalize(statement);
}

Error SqliteConnection::error(const char* doing) const {
    const int extended = sqlite3_extended_errcode(db_);
    return Error{code_of(extended), fmt::format("{}: {}", doing, sqlite3_errmsg(db_)), {}, {}, {}};
}

Result<std::unique_ptr<SqliteConnection>> SqliteConnection::open(const std::string& path,
                                                                 Mode mode) {
    std::unique_ptr<SqliteConnection> made(new SqliteConnection(mode));
    // a reader opens read-write too: WAL readers take part in the shared memory's locks
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW;
    if (sqlite3_open_v2(path.c_str(), &made->db_, flags, nullptr) != SQLITE_OK) {
        return std::unexpected(made->error("open store"));
    }
    sqlite3_extended_result_codes(made->db_, 1);
    sqlite3_busy_timeout(made->db_, 5000);
    if (mode == Mode::kWriter) {
        CULVERT_TRY_STATUS(made->identify());
        CULVERT_TRY_STATUS(made->execute("PRAGMA synchronous=FULL"));
        CULVERT_TRY_STATUS(made->execute("PRAGMA wal_autocheckpoint=0"));
        sqlite3_wal_hook(
            made->db_,
            [](void* self, sqlite3*, const char*, int frames) {
                static_cast<SqliteConnection*>(self)->wal_frames_ = frames;
                return SQLITE_OK;
            },
            made.get());
    } else {
        CULVERT_TRY_STATUS(made->execute("PRAGMA query_only=1"));
    }
    CULVERT_TRY_STATUS(made->execute("PRAGMA cache_size=-16384"));
    CULVERT_TRY_STATUS(made->prepare_all());
    return made;
}

SqliteConnection::~SqliteConnection() {
    for (Statement* statement :
         {&begin_, &commit_, &revision_, &set_revision_, &get_, &put_, &erase_, &scan_, &scan_keys_,
          &scan_to_end_, &scan_keys_to_end_, &count_, &count_to_end_}) {
        statement->reset();
    }
    sqlite3_close(db_);
}

Status SqliteConnection::execute(const char* sql) {
    if (sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) {
        return std::unexpected(error("open store"));
    }
    return {};
}

Result<std::int64_t> SqliteConnection::number(const char* sql) {
    Statement statement;
    CULVERT_TRY_STATUS(prepare(statement, sql));
    Use use(statement);
    if (use.step() != SQLITE_ROW) {
        return std::unexpected(error("open store"));
    }
    return use.number(0);
}

// Ours, whole and of this version; an empty file becomes ours.
Status SqliteConnection::identify() {
    auto application = number("PRAGMA application_id");
    auto version = application ? number("PRAGMA user_version") : application;
    auto tables = version ? number("SELECT count(*) FROM sqlite_master") : version;
    if (!tables) {
        return std::unexpected(std::move(tables.error()));
    }
    if (*application == 0 && *version == 0 && *tables == 0) {
        return create_schema();
    }
    if (*application != kApplicationId) {
        return fail(Code::kCorrupt,
                    "open store: the file is a database of another program, give another path");
    }
    if (*version > kSchemaVersion) {
        return fail(Code::kCorrupt,
                    fmt::format("open store: the file has schema version {}, this build knows "
                                "up to {}: use the newer build that wrote it",
                                *version, kSchemaVersion));
    }
    return check_intact();
}

Status SqliteConnection::check_intact() {
    Statement statement;
    CULVERT_TRY_STATUS(prepare(statement, "PRAGMA quick_check(1)"));
    {
        Use use(statement);
        if (use.step() != SQLITE_ROW) {
            return std::unexpected(error("open store"));
        }
        if (const std::string verdict = use.bytes(0); verdict != "ok") {
            return fail(Code::kCorrupt,
                        fmt::format("open store: the file is damaged: {}", verdict));
        }
    }
    auto rows = number("SELECT count(*) FROM store WHERE id = 1 AND revision >= 1");
    if (!rows || *rows != 1) {
        return fail(Code::kCorrupt, "open store: the file is damaged: its revision is missing");
    }
    return {};
}

Status SqliteConnection::create_schema() {
    CULVERT_TRY_STATUS(execute("PRAGMA journal_mode=WAL"));
    const std::string sql =
        fmt::format("BEGIN IMMEDIATE; PRAGMA application_id={}; PRAGMA user_version={}; {} COMMIT",
                    kApplicationId, kSchemaVersion, kSchema);
    return execute(sql.c_str());
}

Status SqliteConnection::prepare(Statement& out, const char* sql) {
    sqlite3_stmt* made = nullptr;
    if (sqlite3_prepare_v3(db_, sql, -1, SQLITE_PREPARE_PERSISTENT, &made, nullptr) != SQLITE_OK) {
        return std::unexpected(error("open store"));
    }
    out.reset(made);
    return {};
}

Status SqliteConnection::prepare_all() {
    const struct {
        Statement& statement;
        const char* sql;
    } all[] = {
        {begin_, mode_ == Mode::kWriter ? "BEGIN IMMEDIATE" : "BEGIN"},
        {commit_, "COMMIT"},
        {revision_, "SELECT revision FROM store WHERE id = 1"},
        {set_revision_, "UPDATE store SET revision = ?1 WHERE id = 1"},
        {get_, "SELECT key, create_revision, mod_revision, version, value FROM kv WHERE key = ?1"},
        {put_,
         "INSERT OR REPLACE INTO kv (key, create_revision, mod_revision, version, value)"
         " VALUES (?1, ?2, ?3, ?4, ?5)"},
        {erase_, "DELETE FROM kv WHERE key = ?1"},
        {scan_,
         "SELECT key, create_revision, mod_revision, version, value FROM kv"
         " WHERE key >= ?1 AND key < ?2 ORDER BY key"},
        {scan_keys_,
         "SELECT key, create_revision, mod_revision, version FROM kv"
         " WHERE key >= ?1 AND key < ?2 ORDER BY key"},
        {scan_to_end_,
         "SELECT key, create_revision, mod_revision, version, value FROM kv"
         " WHERE key >= ?1 ORDER BY key"},
        {scan_keys_to_end_,
         "SELECT key, create_revision, mod_revision, version FROM kv"
         " WHERE key >= ?1 ORDER BY key"},
        {count_, "SELECT count(*) FROM kv WHERE key >= ?1 AND key < ?2"},
        {count_to_end_, "SELECT count(*) FROM kv WHERE key >= ?1"},
    };
    for (const auto& each : all) {
        CULVERT_TRY_STATUS(prepare(each.statement, each.sql));
    }
    return {};
}

// Steps a statement that returns no rows.
Status SqliteConnection::run(Use& use) {
    if (use.step() != SQLITE_DONE) {
        return std::unexpected(error("write store"));
    }
    return {};
}

Status SqliteConnection::begin() {
    Use use(begin_);
    return run(use);
}

Status SqliteConnection::commit() {
    Use use(commit_);
    return run(use);
}

void SqliteConnection::rollback() {
    if (sqlite3_get_autocommit(db_) == 0) {
        sqlite3_exec(db_, "ROLLBACK", nullptr, nullptr, nullptr);
    }
}

Result<std::int64_t> SqliteConnection::revision() {
    Use use(revision_);
    if (use.step() != SQLITE_ROW) {
        return std::unexpected(error("read store"));
    }
    return use.number(0);
}

Status SqliteConnection::set_revision(std::int64_t revision) {
    Use use(set_revision_);
    use.bind(1, revision);
    return run(use);
}

Result<int> SqliteConnection::checkpoint() {
    int frames = 0;
    int moved = 0;
    if (sqlite3_wal_checkpoint_v2(db_, "main", SQLITE_CHECKPOINT_PASSIVE, &frames, &moved) !=
        SQLITE_OK) {
        return std::unexpected(error("checkpoint store"));
    }
    return frames - moved;
}

Result<std::optional<KeyValue>> SqliteConnection::get(const std::string& key) {
    Use use(get_);
    use.bind(1, key);
    switch (use.step()) {
        case SQLITE_ROW: return use.row(true);
        case SQLITE_DONE: return std::optional<KeyValue>();
        default: return std::unexpected(error("read store"));
    }
}

Status SqliteConnection::scan(const Range& range, const std::function<bool(KeyValue&&)>& visit) {
    const bool to_end = range.range_end == kToTheEnd;
    const bool single = range.range_end.empty();
    const Statement& statement = single            ? get_
                                 : range.keys_only ? (to_end ? scan_keys_to_end_ : scan_keys_)
                                 : to_end          ? scan_to_end_
                                                   : scan_;
    Use use(statement);
    use.bind(1, range.key);
    if (!single && !to_end) {
        use.bind(2, range.range_end);
    }
    for (;;) {
        const int step = use.step();
        if (step == SQLITE_DONE) {
            return {};
        }
        if (step != SQLITE_ROW) {
            return std::unexpected(error("read store"));
        }
        if (!visit(use.row(!range.keys_only))) {
            return {};
        }
    }
}

Result<std::size_t> SqliteConnection::count(const Range& range) {
    if (range.range_end.empty()) {
        auto row = get(range.key);
        if (!row) {
            return std::unexpected(std::move(row.error()));
        }
        return std::size_t{row->has_value() ? 1U : 0U};
    }
    const bool to_end = range.range_end == kToTheEnd;
    Use use(to_end ? count_to_end_ : count_);
    use.bind(1, range.key);
    if (!to_end) {
        use.bind(2, range.range_end);
    }
    if (use.step() != SQLITE_ROW) {
        return std::unexpected(error("read store"));
    }
    return static_cast<std::size_t>(use.number(0));
}

Status SqliteConnection::put(const KeyValue& row) {
    Use use(put_);
    use.bind(1, row.key);
    use.bind(2, row.create_revision);
    use.bind(3, row.mod_revision);
    use.bind(4, row.version);
    use.bind(5, row.value);
    return run(use);
}

Status SqliteConnection::erase(const std::string& key) {
    Use use(erase_);
    use.bind(1, key);
    return run(use);
}

}  // namespace culvert::store
