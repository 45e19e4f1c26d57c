// SPDX-License-Identifier: Apache-2.0
#include "store/sqlite_connection.hpp"

#include "base/limits.hpp"

#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <string_view>
#include <vector>

namespace culvert::store {
namespace {

// of each connection; the kernel holds the rest of the file
constexpr const char* kCacheSize = "PRAGMA cache_size=-4096";
constexpr std::string_view kToTheEnd("\0", 1);
// revisions between two looks at what is too old
constexpr std::uint64_t kForgetEvery = 64;

// One a version, in order; each runs in a transaction of its own and is never changed once it has
// been released: a file of any older version is brought up by those that it lacks.
constexpr const char* kMigrations[] = {
    // 1: columns that are compared stand before the value, so that a scan of keys reads no overflow
    // pages
    "CREATE TABLE kv (key BLOB NOT NULL PRIMARY KEY, create_revision INTEGER NOT NULL,"
    " mod_revision INTEGER NOT NULL, version INTEGER NOT NULL, value BLOB NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE store (id INTEGER PRIMARY KEY CHECK (id = 1), revision INTEGER NOT NULL);"
    "INSERT INTO store VALUES (1, 1);",
    // 2: what each revision replaced (mod_revision 0: the key was absent) and when, in ms since
    // 1970
    "CREATE TABLE history (revision INTEGER NOT NULL, key BLOB NOT NULL,"
    " create_revision INTEGER NOT NULL, mod_revision INTEGER NOT NULL, version INTEGER NOT NULL,"
    " value BLOB NOT NULL, PRIMARY KEY (revision, key)) WITHOUT ROWID;"
    "CREATE TABLE revisions (revision INTEGER PRIMARY KEY, at INTEGER NOT NULL);"};
static_assert(std::size(kMigrations) == kSchemaVersion);

Code code_of(int sqlite_code) {
    switch (sqlite_code & 0xff) {
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB: return Code::kCorrupt;
        case SQLITE_FULL: return Code::kStorageFull;
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
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

Fault SqliteConnection::fault() const {
    const int extended = sqlite3_extended_errcode(db_);
    if ((extended & 0xff) == SQLITE_FULL) {
        return Fault::kFull;
    }
    if ((extended & 0xff) != SQLITE_IOERR) {
        return Fault::kNone;
    }
    // the WAL's index could not grow: nothing else has been touched
    const int why = sqlite3_system_errno(db_);
    return extended == SQLITE_IOERR_SHMSIZE && (why == ENOSPC || why == EDQUOT || why == 0)
               ? Fault::kFull
               : Fault::kDisk;
}

void SqliteConnection::abandon() {
    sqlite3_db_config(db_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
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
        made->abandon();  // until the WAL is settled
        CULVERT_TRY_STATUS(made->identify());
        CULVERT_TRY_STATUS(made->execute("PRAGMA synchronous=FULL"));
        CULVERT_TRY_STATUS(made->settle_wal());
        sqlite3_db_config(made->db_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, nullptr);
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
    CULVERT_TRY_STATUS(made->execute(kCacheSize));
    CULVERT_TRY_STATUS(made->prepare_all());
    return made;
}

SqliteConnection::~SqliteConnection() {
    for (Statement* statement :
         {&begin_, &commit_, &revision_, &set_revision_, &get_, &put_, &erase_, &scan_, &scan_keys_,
          &scan_to_end_, &scan_keys_to_end_, &count_, &count_to_end_, &remember_, &stamp_, &forget_,
          &forget_stamps_}) {
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
        CULVERT_TRY_STATUS(execute("PRAGMA journal_mode=WAL"));
        return migrate(0);
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
    CULVERT_TRY_STATUS(check_intact());
    CULVERT_TRY_STATUS(execute("PRAGMA journal_mode=WAL"));  // a backup is without
    return migrate(*version);
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

Status SqliteConnection::migrate(std::int64_t from) {
    for (std::int64_t version = from + 1; version <= kSchemaVersion; ++version) {
        const std::string sql = fmt::format(
            "BEGIN IMMEDIATE; PRAGMA application_id={}; PRAGMA user_version={}; {} COMMIT",
            kApplicationId, version, kMigrations[version - 1]);
        CULVERT_TRY_STATUS(execute(sql.c_str()));
    }
    return {};
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
        {remember_,
         "INSERT INTO history (revision, key, create_revision, mod_revision, version, value)"
         " VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING"},
        {stamp_,
         "INSERT INTO revisions VALUES"
         " (?1, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))"},
        {forget_stamps_,
         "DELETE FROM revisions WHERE revision <="
         " (SELECT revision FROM revisions ORDER BY revision DESC LIMIT 1 OFFSET ?1)"},
        {forget_, "DELETE FROM history WHERE revision < (SELECT min(revision) FROM revisions)"},
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

Status SqliteConnection::remember(const WatchBatch& batch) {
    for (const Event& event : batch.events) {
        const KeyValue none{};
        const KeyValue& before = event.before ? *event.before : none;
        Use use(remember_);
        use.bind(1, batch.revision);
        use.bind(2, event.now.key);
        use.bind(3, before.create_revision);
        use.bind(4, before.mod_revision);
        use.bind(5, before.version);
        use.bind(6, before.value);
        CULVERT_TRY_STATUS(run(use));
    }
    {
        Use use(stamp_);
        use.bind(1, batch.revision);
        CULVERT_TRY_STATUS(run(use));
    }
    if (++remembered_ % kForgetEvery != 0) {
        return {};
    }
    {
        Use use(forget_stamps_);
        use.bind(1, static_cast<std::int64_t>(limits::kHistoryRevisions));
        CULVERT_TRY_STATUS(run(use));
    }
    Use use(forget_);
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

// After a sync that failed the kernel may show frames that are not on the disk, and syncs of them
// only seem to succeed. If those were moved into the database, and the power failed before the WAL
// is emptied, the frames that are on the disk would be laid over pages that are newer. So they are
// written again as they are, which makes a sync mean something, and only then moved.
Status SqliteConnection::settle_wal() {
    sqlite3_file* wal = nullptr;
    sqlite3_file_control(db_, "main", SQLITE_FCNTL_JOURNAL_POINTER, static_cast<void*>(&wal));
    sqlite3_int64 size = 0;
    if (wal == nullptr || wal->pMethods == nullptr ||
        wal->pMethods->xFileSize(wal, &size) != SQLITE_OK || size == 0) {
        return {};
    }
    const auto failed = [] {
        return fail(Code::kUnavailable, "open store: the WAL cannot be written to the disk");
    };
    std::vector<char> chunk(std::size_t{1} << 16);
    for (sqlite3_int64 at = 0; at < size;) {
        const int part = static_cast<int>(std::min<sqlite3_int64>(size - at, std::ssize(chunk)));
        if (wal->pMethods->xRead(wal, chunk.data(), part, at) != SQLITE_OK ||
            wal->pMethods->xWrite(wal, chunk.data(), part, at) != SQLITE_OK) {
            return failed();
        }
        at += part;
    }
    if (wal->pMethods->xSync(wal, SQLITE_SYNC_FULL) != SQLITE_OK) {
        return failed();
    }
    return checkpoint_all();
}

Status SqliteConnection::checkpoint_all() {
    if (sqlite3_wal_checkpoint_v2(db_, "main", SQLITE_CHECKPOINT_TRUNCATE, nullptr, nullptr) !=
        SQLITE_OK) {
        return std::unexpected(error("checkpoint store"));
    }
    return {};
}

Status SqliteConnection::copy_to(const std::string& path) {
    sqlite3* copy = nullptr;
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW;
    int done = sqlite3_open_v2(path.c_str(), &copy, flags, nullptr);
    if (done == SQLITE_OK) {
        // all pages in one step: the reader's snapshot is what is copied, writers go on in the WAL
        sqlite3_backup* backup = sqlite3_backup_init(copy, "main", db_, "main");
        if (backup != nullptr) {
            sqlite3_backup_step(backup, -1);
            sqlite3_backup_finish(backup);
        }
        done = sqlite3_errcode(copy);
    }
    Status status;
    if (done != SQLITE_OK) {
        status =
            fail(code_of(done), fmt::format("copy store to {}: {}", path, sqlite3_errmsg(copy)));
    }
    sqlite3_close(copy);
    return status;
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
